"""Stack deployment plan: the difference between a stack and the objects of the cluster. Pure.

Invariant: an object that is already as specified is not touched. A content that differs and cannot change is refused before anything is
changed.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from compose.stack.depends_on import dependencies_first
from compose.stack.model import Stack, StackFile, StackNetwork, StackService
from covey.errors import ConflictError, NotFoundError
from covey.service_dependencies import dependency_names

Item = Mapping[str, Any]
_SECOND = 1_000_000_000
_UPDATE_DEFAULTS = {"FailureAction": "pause", "Monitor": 5 * _SECOND, "Order": "stop-first"}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "RestartPolicy": {"Condition": "any", "Delay": 5 * _SECOND},
    "UpdateConfig": _UPDATE_DEFAULTS,
    "RollbackConfig": _UPDATE_DEFAULTS,
    "EndpointSpec": {"Mode": "vip"},
    "Replicated": {"Replicas": 1},
}
# Values that the daemon adds where a spec does not set them.
_DAEMON_DEFAULTS = {"Isolation": "default", "Runtime": "container"}
# Sections that apply even if a spec does not have them, by the section that contains them.
_IMPLIED_POLICIES = {"": ("EndpointSpec",), "TaskTemplate": ("RestartPolicy",)}
# Fields in which zero and false differ from an absent value.
_ZERO_IS_MEANINGFUL = {
    "Init",
    "Replicas",
    "Parallelism",
    "StopGracePeriod",
    "Delay",
    "Monitor",
    "Mode",
    "Global",
    "GlobalJob",
}


class ServicePlan(msgspec.Struct, frozen=True):
    """The services of a deployment by what happens to them; existing ones with their API object."""

    create: tuple[StackService, ...]
    update: tuple[tuple[Item, StackService], ...]
    unchanged: tuple[tuple[Item, StackService], ...]
    prune: tuple[Item, ...]


class FilePlan(msgspec.Struct, frozen=True):
    """The secrets or configs to create, and those to update with their API object."""

    create: tuple[StackFile, ...] = ()
    update: tuple[tuple[Item, StackFile], ...] = ()


class StackPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment.

    Attributes:
        stack: the stack with the names of its files' versions.
        networks: those to create.
        kept_networks: those of the stack that exist, with their API object.
        files: by kind, secret and config.
        services: ids of secrets and configs that do not exist yet are empty.
        unknown_services: those of the stack that the files do not name, and that stay.
        old_files: versions of secrets and configs that nothing uses, with their kind.
        network_names: names of the cluster's networks by id.
    """

    stack: Stack
    networks: tuple[StackNetwork, ...]
    kept_networks: tuple[tuple[Item, StackNetwork], ...]
    files: Mapping[str, FilePlan]
    services: ServicePlan
    unknown_services: tuple[Item, ...]
    old_files: tuple[tuple[str, Item], ...]
    network_names: Mapping[str, str]


def kept_networks(stack: Stack, existing: Sequence[Item]) -> tuple[tuple[Item, StackNetwork], ...]:
    """The stack's own networks that exist."""
    by_name = {item["Name"]: item for item in existing if item.get("Scope") == "swarm"}
    return tuple((by_name[item.name], item) for item in stack.networks if not item.external and item.name in by_name)


def plan_networks(stack: Stack, existing: Sequence[Item]) -> list[StackNetwork]:
    """The networks to create.

    Raises:
        NotFoundError: an external network is missing, or is not a swarm network.
    """
    by_name = {item["Name"]: item for item in existing if item.get("Scope") == "swarm"}
    result = []
    for network in stack.networks:
        if network.name in by_name or (network.external and network.name in ("host", "bridge", "none")):
            continue
        if network.external:
            raise NotFoundError(
                f'network "{network.name}" is declared as external, but could not be found: '
                "create it with swarm scope before the stack is deployed"
            )
        result.append(network)
    return result


def plan_files(desired: Sequence[StackFile], existing: Sequence[Item], kind: str) -> FilePlan:
    """The secrets or configs to create, and those to update with the existing object; ``kind`` is secret or config.

    A config with the same content and labels is not touched. The content of a secret is not readable: unless its name is that of a
    version, it is sent, and the daemon refuses a different one.
    """
    by_name = {item["Spec"]["Name"]: item for item in existing}
    create, update = [], []
    for item in desired:
        current = by_name.get(item.name)
        if item.external:
            if current is None:
                raise NotFoundError(f"{kind} not found: {item.name}; it is declared as external, so create it first")
        elif current is None:
            create.append(item)
        else:
            if not has_content(current, item):
                raise ConflictError(
                    f"{kind} {item.name} exists with different content, which cannot be changed: give the new one another name "
                    f"({kind}s.{item.key}.name), or none, so that its name follows the content"
                )
            unread = kind == "secret" and not item.versioned
            if unread or (current["Spec"].get("Labels") or {}) != item.labels:
                update.append((current, item))
    return FilePlan(tuple(create), tuple(update))


def has_content(current: Item, file: StackFile) -> bool:
    """Whether an object has the content of a file; also if either cannot be read."""
    content = current["Spec"].get("Data")
    return content is None or file.data is None or base64.b64decode(content) == file.data


def encoded(file: StackFile) -> str:
    """The content of a file as the API takes it."""
    return base64.b64encode(file.data or b"").decode()


def resolve_ids(service: StackService, secrets: Mapping[str, str], configs: Mapping[str, str]) -> StackService:
    """The service with the ids of its secrets and configs. Networks go by name: the daemon resolves them, also those of a host.

    Raises:
        NotFoundError: a secret or config does not exist.
    """
    spec = dict(service.spec)
    task = dict(spec["TaskTemplate"])
    container = dict(task["ContainerSpec"])
    for kind, ids in (("Secret", secrets), ("Config", configs)):
        if references := container.get(f"{kind}s"):
            missing = [name for item in references if (name := item[f"{kind}Name"]) not in ids]
            if missing:
                raise NotFoundError(f"{kind.lower()} not found: {missing[0]}")
            container[f"{kind}s"] = [{**item, f"{kind}ID": ids[item[f"{kind}Name"]]} for item in references]
    task["ContainerSpec"] = container
    spec["TaskTemplate"] = task
    return msgspec.structs.replace(service, spec=spec)


def plan_services(
    desired: Sequence[StackService], existing: Sequence[Item], network_names: Mapping[str, str], *, prune: bool
) -> ServicePlan:
    """The services to create, update, keep and prune.

    Args:
        desired: services with resolved ids.
        existing: the cluster's services with the stack's label.
        network_names: names of networks by id; the daemon stores ids where the stack has names.
        prune: remove services that are not desired.
    """
    by_name = {item["Spec"]["Name"]: item for item in existing}
    names = {service.name for service in desired}
    current = [(by_name[service.name], service) for service in desired if service.name in by_name]
    return ServicePlan(
        create=tuple(service for service in desired if service.name not in by_name),
        update=tuple(
            (item, service)
            for item, service in current
            if not specs_equal(named(item["Spec"], network_names), service.spec)
        ),
        unchanged=tuple(
            (item, service)
            for item, service in current
            if specs_equal(named(item["Spec"], network_names), service.spec)
        ),
        prune=tuple(dependants_first([item for name, item in by_name.items() if name not in names])) if prune else (),
    )


def specs_in_use(services: ServicePlan, unknown: Sequence[Item]) -> list[Item]:
    """The specs of a stack's services once a plan is executed, and those that a rollback would bring back."""
    updated = [spec for item, service in services.update for spec in (item["Spec"], service.spec)]
    kept = [item for item, _ in services.unchanged] + list(unknown)
    stored = [item[key] for item in kept for key in ("Spec", "PreviousSpec") if item.get(key)]
    return [service.spec for service in services.create] + updated + stored


def dependants_first(services: Sequence[Item]) -> list[Item]:
    """The services in the order of removal: each before those that it depends on, so that the managers end its tasks first."""
    by_name = {item["Spec"]["Name"]: item for item in services}
    dependants: dict[str, list[str]] = {name: [] for name in by_name}
    for name, item in by_name.items():
        for needed in dependency_names(item["Spec"].get("Labels") or {}):
            dependants.get(needed, []).append(name)
    return [by_name[name] for name in dependencies_first(dependants)]


def named(spec: Item, network_names: Mapping[str, str]) -> dict[str, Any]:
    """A stored spec with names of networks where it has ids."""
    task = spec["TaskTemplate"]
    attachments = [
        {**item, "Target": network_names.get(item["Target"], item["Target"])} for item in task.get("Networks") or ()
    ]
    attachments.sort(key=lambda item: str(item["Target"]))
    return {**spec, "TaskTemplate": {**task, "Networks": attachments}}


def update_body(item: Item, service: StackService) -> dict[str, Any]:
    """The spec to send: that of the stack, with the existing ForceUpdate counter."""
    force = item["Spec"]["TaskTemplate"].get("ForceUpdate", 0)
    return {**service.spec, "TaskTemplate": {**service.spec["TaskTemplate"], "ForceUpdate": force}}


def specs_equal(current: Item, desired: Item) -> bool:
    """Whether two specs are equal once defaults are filled in."""
    return bool(comparable(current) == comparable(desired))


def comparable(spec: Item) -> dict[str, Any]:
    """A spec with defaults filled in and without what does not tell two specs apart."""
    result: dict[str, Any] = _normalized(_without_force(spec))
    return result


def _without_force(spec: Item) -> dict[str, Any]:
    task = {key: value for key, value in spec["TaskTemplate"].items() if key != "ForceUpdate"}
    return {**spec, "TaskTemplate": task}


def _normalized(value: Any, name: str = "") -> Any:
    """A value with defaults filled in and empty values removed; ``name`` is its key."""
    if isinstance(value, list):
        return [_normalized(item, f"{name}[]") for item in value]
    if not isinstance(value, Mapping):
        return value
    filled = {**_DEFAULTS.get(name, {}), **value}
    filled.update((key, {}) for key in _IMPLIED_POLICIES.get(name, ()) if not filled.get(key))
    items = {key: _normalized(item, key) for key, item in filled.items() if item is not None}
    return {
        key: item
        for key, item in items.items()
        if (item or key in _ZERO_IS_MEANINGFUL) and _DAEMON_DEFAULTS.get(key) != item
    }
