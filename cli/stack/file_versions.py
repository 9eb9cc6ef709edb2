"""Versions of a stack's secrets and configs: names that follow from the content. Pure.

Invariant: the name of a version says its content, so a changed file is a new object and rolls the services that use it. The name inside
containers stays that of the file's key. A file with a ``name`` of its own has no versions.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from compose.stack.labels import STACK_KEY_LABEL, STACK_NAMESPACE_LABEL
from compose.stack.model import Stack, StackFile, StackService

Item = Mapping[str, Any]
SameContent = Callable[[str, Item, StackFile], bool]
"""Whether an existing object of a kind has the content of a file."""
MAX_NAME = 64
_DIGITS = 8


def version_name(file: StackFile) -> str:
    """``STACK_KEY_`` and the start of the content's SHA-256; a name that is too long is cut and told apart by its digest."""
    data = file.data or b""
    digest = hashlib.sha256(data).hexdigest()[:_DIGITS]
    room = MAX_NAME - _DIGITS - 1
    if len(file.name) <= room:
        return f"{file.name}_{digest}"
    digest = hashlib.sha256(file.name.encode() + b"\0" + data).hexdigest()[:_DIGITS]
    return f"{file.name[:room]}_{digest}"


def with_versions(
    stack: Stack, existing: Mapping[str, Sequence[Item]], services: Sequence[Item], same_content: SameContent
) -> Stack:
    """The stack with its files under the names of their versions.

    A file keeps the plain name that docker gives it while a service uses it and the content is the same, so that no service restarts for
    another name.

    Args:
        stack: the stack with plain names.
        existing: the cluster's objects by kind, secret and config.
        services: the cluster's services with the stack's label.
        same_content: asked about an object that a service uses under a plain name.
    """
    specs = [item["Spec"] for item in services]
    chosen = {
        kind: _chosen(kind, files, _plain_objects(kind, stack.name, existing[kind], specs), same_content)
        for kind, files in (("secret", stack.secrets), ("config", stack.configs))
    }
    names = {kind: {old.name: new.name for old, new in pairs if old.versioned} for kind, pairs in chosen.items()}
    return msgspec.structs.replace(
        stack,
        secrets=tuple(new for _, new in chosen["secret"]),
        configs=tuple(new for _, new in chosen["config"]),
        services=tuple(_renamed(service, names) for service in stack.services),
    )


def old_versions(stack: Stack, kind: str, existing: Sequence[Item], specs: Sequence[Item]) -> list[Item]:
    """The objects that were versions of the stack's files and that no service uses, also not after a rollback.

    Args:
        stack: the stack with versions.
        kind: secret or config.
        existing: the cluster's objects of the kind.
        specs: the specs of the stack's services after the deployment, and those that a rollback would bring back.
    """
    files = stack.secrets if kind == "secret" else stack.configs
    keys = {file.key for file in files if file.versioned}
    plain_names = {f"{stack.name}_{key}" for key in keys}
    kept = {file.name for file in files} | _used(kind, specs)
    return [
        item
        for item in existing
        if _label(item, STACK_NAMESPACE_LABEL) == stack.name
        and (_label(item, STACK_KEY_LABEL) in keys or item["Spec"]["Name"] in plain_names)
        and item["Spec"]["Name"] not in kept
    ]


def _chosen(
    kind: str, files: Sequence[StackFile], existing: Mapping[str, Item], same_content: SameContent
) -> list[tuple[StackFile, StackFile]]:
    """Each file with the one that is deployed; ``existing`` are the objects that it may keep, by name."""
    uses = Counter(file.name for file in files)
    result = []
    for file in files:
        current = existing.get(file.name)
        # A plain name that another file claims is ambiguous in references: it stays as docker has it.
        if not file.versioned or uses[file.name] > 1 or (current and same_content(kind, current, file)):
            result.append((file, file))
        else:
            labels = {**file.labels, STACK_KEY_LABEL: file.key}
            result.append((file, msgspec.structs.replace(file, name=version_name(file), labels=labels)))
    return result


def _plain_objects(kind: str, stack: str, existing: Sequence[Item], specs: Sequence[Item]) -> dict[str, Item]:
    """The objects of the stack that services use, by name."""
    used = _used(kind, specs)
    ours = [item for item in existing if _label(item, STACK_NAMESPACE_LABEL) == stack]
    return {item["Spec"]["Name"]: item for item in ours if item["Spec"]["Name"] in used}


def _renamed(service: StackService, names: Mapping[str, Mapping[str, str]]) -> StackService:
    """The service with references to the versions."""
    container = dict(service.spec["TaskTemplate"]["ContainerSpec"])
    for kind in ("secret", "config"):
        field, name = f"{kind.capitalize()}s", f"{kind.capitalize()}Name"
        if references := container.get(field):
            container[field] = [{**item, name: names[kind].get(item[name], item[name])} for item in references]
    task = {**service.spec["TaskTemplate"], "ContainerSpec": container}
    return msgspec.structs.replace(service, spec={**service.spec, "TaskTemplate": task})


def _used(kind: str, specs: Sequence[Item]) -> set[str]:
    field, name = f"{kind.capitalize()}s", f"{kind.capitalize()}Name"
    return {
        reference[name]
        for spec in specs
        for reference in (spec["TaskTemplate"].get("ContainerSpec") or {}).get(field) or ()
    }


def _label(item: Item, label: str) -> str | None:
    value = (item["Spec"].get("Labels") or {}).get(label)
    return None if value is None else str(value)
