"""Reads the cluster and plans a stack's deployment. Changes nothing."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from cli.client import DaemonClient, DaemonError
from cli.stack import plan
from cli.stack.file_versions import SameContent, old_versions, with_versions
from compose.stack.labels import STACK_NAMESPACE_LABEL
from compose.stack.model import Stack, StackFile

BAD_REQUEST = 400
Spec = dict[str, Any]


class ServiceImages(Protocol):
    """Prepares the images of services (``cli.registry.service_images``)."""

    def all_prepared(self, specs: Sequence[tuple[Spec, Spec | None]]) -> list[Spec]: ...
    def headers(self, spec: dict[str, Any]) -> dict[str, str]: ...


def stack_filter(stack: str) -> dict[str, list[str]]:
    """The API filter for objects of a stack."""
    return {"label": [f"{STACK_NAMESPACE_LABEL}={stack}"]}


def stack_plan(
    daemon: DaemonClient, stack: Stack, images: ServiceImages, same_content: SameContent, *, prune: bool
) -> plan.StackPlan:
    """The plan of a deployment.

    Args:
        daemon: of a manager.
        stack: the stack with plain names.
        images: resolves images.
        same_content: compares an existing object with a file.
        prune: remove services that the files do not name.

    Raises:
        CoveyError: an external object is missing, or content differs that cannot change.
    """
    existing = daemon.get("/services", {"filters": stack_filter(stack.name)})
    networks = daemon.get("/networks")
    missing = tuple(plan.plan_networks(stack, networks))
    files = {kind: daemon.get(f"/{kind}s") for kind in ("secret", "config")}
    named = with_versions(stack, files, existing, same_content)
    file_plans = {
        "secret": plan.plan_files(named.secrets, files["secret"], "secret"),
        "config": plan.plan_files(named.configs, files["config"], "config"),
    }
    ids = {
        kind: {**{file.name: "" for file in file_plans[kind].create}, **object_ids(items)}
        for kind, items in files.items()
    }
    specs = {item["Spec"]["Name"]: item["Spec"] for item in existing}
    resolved = [plan.resolve_ids(item, ids["secret"], ids["config"]) for item in named.services]
    prepared = images.all_prepared([(service.spec, specs.get(service.name)) for service in resolved])
    desired = [msgspec.structs.replace(service, spec=spec) for service, spec in zip(resolved, prepared, strict=True)]
    network_names = {item["Id"]: item["Name"] for item in networks}
    services = plan.plan_services(desired, existing, network_names, prune=prune)
    names = {service.name for service in named.services}
    unknown = tuple(sorted((item for item in existing if item["Spec"]["Name"] not in names), key=_name))
    used = plan.specs_in_use(services, () if prune else unknown)
    return plan.StackPlan(
        stack=named,
        networks=missing,
        kept_networks=plan.kept_networks(named, networks),
        files=file_plans,
        services=services,
        unknown_services=() if prune else unknown,
        old_files=tuple((kind, item) for kind in files for item in old_versions(named, kind, files[kind], used)),
        network_names=network_names,
    )


def object_ids(items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The ids of secrets or configs by name."""
    return {item["Spec"]["Name"]: item["ID"] for item in items}


def assumed_same(kind: str, current: Mapping[str, Any], file: StackFile) -> bool:
    """Whether a config has the content of a file. A secret cannot be read: it is taken for the same."""
    return kind == "secret" or plan.has_content(current, file)


def compared_by(daemon: DaemonClient) -> SameContent:
    """Compares contents, also of secrets: the daemon accepts an update with the same content and labels, and refuses another content."""

    def same_content(kind: str, current: Mapping[str, Any], file: StackFile) -> bool:
        if kind == "config":
            return plan.has_content(current, file)
        now = daemon.get(f"/secrets/{current['ID']}")
        body = {**now["Spec"], "Data": plan.encoded(file)}
        try:
            daemon.post(f"/secrets/{current['ID']}/update", {"version": now["Version"]["Index"]}, body)
        except DaemonError as error:
            if error.status == BAD_REQUEST and "labels" in error.message.lower():
                return False
            raise
        return True

    return same_content


def _name(item: Mapping[str, Any]) -> str:
    return str(item["Spec"]["Name"])
