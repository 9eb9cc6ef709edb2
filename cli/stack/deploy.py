"""Stack deployment and removal: executes ``plan`` in the order networks, secrets and configs, services."""

import base64
import time
from typing import Any, Protocol

import click
import msgspec

from cli.client import DaemonClient, DaemonError
from cli.stack import plan
from compose.stack.labels import STACK_NAMESPACE_LABEL
from compose.stack.model import Stack, StackFile
from covey.errors import ConflictError, DeadlineError

REMOVE_SECONDS = 60.0
POLL_SECONDS = 0.1


def stack_filter(stack: str) -> dict[str, list[str]]:
    """The API filter for objects of a stack."""
    return {"label": [f"{STACK_NAMESPACE_LABEL}={stack}"]}


class ServiceImages(Protocol):
    """Prepares the images of services (``cli.registry.service_images``)."""

    def prepared(self, spec: dict[str, Any], current: dict[str, Any] | None = None) -> dict[str, Any]: ...
    def headers(self, spec: dict[str, Any]) -> dict[str, str]: ...


def deploy(daemon: DaemonClient, stack: Stack, images: ServiceImages, *, prune: bool) -> list[str]:
    """Deploy a stack and return the names of its services.

    Raises:
        CoveyError: the daemon refuses, or an external object is missing. Objects created so far remain; deploying again continues.
    """
    existing = daemon.get("/services", {"filters": stack_filter(stack.name)})
    networks = daemon.get("/networks")
    missing = plan.plan_networks(stack, networks)
    files = {kind: plan.plan_files(items, daemon.get(f"/{kind}s"), kind) for kind, items in _file_kinds(stack)}
    for kind, (_, update) in files.items():  # first, because the daemon may refuse these
        for current, file in update:
            _update_file(daemon, kind, current, file)
    if prune:
        for item in plan.plan_services(stack.services, existing, {}, prune=True).prune:
            _print(f"Removing service {item['Spec']['Name']}")
            daemon.delete(f"/services/{item['ID']}")
    for network in missing:
        _print(f"Creating network {network.name}")
        daemon.post("/networks/create", body=network.body)
    for kind, (create, _) in files.items():
        for file in create:
            _print(f"Creating {kind} {file.name}")
            daemon.post(f"/{kind}s/create", body=_file_body(file))
    _deploy_services(daemon, stack, existing, images)
    return [service.name for service in stack.services]


def remove(daemon: DaemonClient, stack: str) -> bool:
    """Remove all objects of a stack; False if there are none. A network can be removed once its last task has stopped."""
    services = daemon.get("/services", {"filters": stack_filter(stack)})
    parts = {kind: daemon.get(f"/{kind}s", {"filters": stack_filter(stack)}) for kind in ("secret", "config")}
    networks = daemon.get("/networks", {"filters": stack_filter(stack)})
    for item in services:
        _print(f"Removing service {item['Spec']['Name']}")
        daemon.delete(f"/services/{item['ID']}")
    for kind, items in parts.items():
        for item in items:
            _print(f"Removing {kind} {item['Spec']['Name']}")
            _delete_when_unused(daemon, f"/{kind}s/{item['ID']}")
    for item in networks:
        _print(f"Removing network {item['Name']}")
        _delete_when_unused(daemon, f"/networks/{item['Id']}")
    return bool(services or networks or any(parts.values()))


def _deploy_services(daemon: DaemonClient, stack: Stack, existing: list[Any], images: ServiceImages) -> None:
    ids = {
        kind: {item["Spec"]["Name"]: item["ID"] for item in daemon.get(f"/{kind}s")} for kind, _ in _file_kinds(stack)
    }
    resolved = [plan.resolve_ids(service, ids["secret"], ids["config"]) for service in stack.services]
    current = {item["Spec"]["Name"]: item["Spec"] for item in existing}
    resolved = [
        msgspec.structs.replace(item, spec=images.prepared(item.spec, current.get(item.name))) for item in resolved
    ]
    network_names = {item["Id"]: item["Name"] for item in daemon.get("/networks")}
    service_plan = plan.plan_services(resolved, existing, network_names, prune=False)
    for service in service_plan.create:
        _print(f"Creating service {service.name}")
        daemon.call("POST", "/services/create", body=service.spec, headers=images.headers(service.spec))
    for item, service in service_plan.update:
        _print(f"Updating service {service.name} (id: {item['ID']})")
        headers = images.headers(service.spec)
        query = {"version": item["Version"]["Index"], "registryAuthFrom": "" if headers else "spec"}
        daemon.call("POST", f"/services/{item['ID']}/update", query, plan.update_body(item, service), headers=headers)
    for _, service in service_plan.unchanged:
        _print(f"Service {service.name} is unchanged")


def _file_kinds(stack: Stack) -> tuple[tuple[str, tuple[StackFile, ...]], ...]:
    return (("secret", stack.secrets), ("config", stack.configs))


def _file_body(item: StackFile) -> dict[str, Any]:
    return {
        "Name": item.name,
        "Labels": item.labels,
        **({"Data": base64.b64encode(item.data).decode()} if item.data is not None else {}),
        **({"Driver": item.driver} if item.driver else {}),
        **({"Templating": {"Name": item.template_driver}} if item.template_driver else {}),
    }


def _update_file(daemon: DaemonClient, kind: str, current: Any, item: StackFile) -> None:
    try:
        daemon.post(f"/{kind}s/{current['ID']}/update", {"version": current["Version"]["Index"]}, _file_body(item))
    except DaemonError as error:
        if error.status == 400 and "labels" in error.message.lower():
            raise ConflictError(
                f"{kind} {item.name} exists with different content, which cannot be changed: give the new one another "
                f"name ({kind}s.{item.key}.name); the daemon says: {error.message}"
            ) from error
        raise


def _delete_when_unused(daemon: DaemonClient, path: str) -> None:
    """Delete an object as soon as it is unused. Tasks of removed services need time to stop."""
    deadline = time.monotonic() + REMOVE_SECONDS
    while True:
        try:
            daemon.delete(path)
        except DaemonError as error:
            if error.status == 404:
                return
            if "in use" not in error.message and "active" not in error.message:
                raise
            if time.monotonic() > deadline:
                raise DeadlineError(f"still in use after {REMOVE_SECONDS:.0f} s: {error.message}") from error
            time.sleep(POLL_SECONDS)
        else:
            return


def _print(text: str) -> None:
    click.echo(text)
