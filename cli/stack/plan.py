"""What to change so that a cluster holds a stack: pure comparison of what is wanted with what is there.

Law: what is as wanted is not touched; what is there under another content and cannot change is refused before anything is done.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cli.stack.model import Stack, StackFile, StackNetwork, StackService
from covey.errors import ConflictError, NotFoundError

Item = Mapping[str, Any]
_SECOND = 1_000_000_000
_UPDATE_DEFAULTS = {"FailureAction": "pause", "Monitor": 5 * _SECOND, "Order": "stop-first"}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "RestartPolicy": {"Condition": "any", "Delay": 5 * _SECOND},
    "UpdateConfig": _UPDATE_DEFAULTS,
    "RollbackConfig": _UPDATE_DEFAULTS,
    "EndpointSpec": {"Mode": "vip"},
}
# What the daemon fills in by itself where a spec says nothing.
_DAEMON_DEFAULTS = {"Isolation": "default", "Runtime": "container"}
# Policies that apply even where a spec does not name them, by the section they stand in.
_IMPLIED_POLICIES = {"": ("EndpointSpec",), "TaskTemplate": ("RestartPolicy",)}
# Here nothing, false and zero each mean something else.
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
    create: tuple[StackService, ...]
    update: tuple[tuple[Item, StackService], ...]
    unchanged: tuple[tuple[Item, StackService], ...]
    prune: tuple[Item, ...]


def plan_networks(stack: Stack, existing: Sequence[Item]) -> list[StackNetwork]:
    """Raises NotFoundError for an external network that is missing, or that only this host knows."""
    known = {item["Name"]: item for item in existing if item.get("Scope") == "swarm"}
    result = []
    for network in stack.networks:
        if network.name in known or (network.external and network.name in ("host", "bridge", "none")):
            continue
        if network.external:
            raise NotFoundError(
                f'network "{network.name}" is declared as external, but could not be found: '
                "create it in the cluster's scope before the stack is deployed"
            )
        result.append(network)
    return result


def plan_files(
    wanted: Sequence[StackFile], existing: Sequence[Item], kind: str
) -> tuple[list[StackFile], list[tuple[Item, StackFile]]]:
    """Which to create and which to update, with what is there; ``kind`` is secret or config.

    A config whose content is the same is left alone. What a secret holds only the daemon knows: it is sent, and the daemon
    refuses another content.
    """
    known = {item["Spec"]["Name"]: item for item in existing}
    create, update = [], []
    for item in wanted:
        there = known.get(item.name)
        if item.external:
            if there is None:
                raise NotFoundError(f"{kind} not found: {item.name}; it is declared as external, so create it first")
        elif there is None:
            create.append(item)
        else:
            content = there["Spec"].get("Data")
            if content is not None and item.data is not None and base64.b64decode(content) != item.data:
                raise ConflictError(
                    f"the {kind} {item.name} exists with another content, and contents never change: give the new one another name "
                    f"({kind}s.{item.key}.name)"
                )
            if kind == "secret" or (there["Spec"].get("Labels") or {}) != item.labels:
                update.append((there, item))
    return create, update


def resolve_ids(
    service: StackService, networks: Mapping[str, str], secrets: Mapping[str, str], configs: Mapping[str, str]
) -> StackService:
    """The service with ids for the names of what it uses."""
    spec = dict(service.spec)
    task = dict(spec["TaskTemplate"])
    container = dict(task["ContainerSpec"])
    for kind, ids in (("Secret", secrets), ("Config", configs)):
        if references := container.get(f"{kind}s"):
            container[f"{kind}s"] = [{**item, f"{kind}ID": ids[item[f"{kind}Name"]]} for item in references]
    if attachments := task.get("Networks"):
        task["Networks"] = [{**item, "Target": networks.get(item["Target"], item["Target"])} for item in attachments]
    task["ContainerSpec"] = container
    spec["TaskTemplate"] = task
    return msgspec.structs.replace(service, spec=spec)


def plan_services(wanted: Sequence[StackService], existing: Sequence[Item], *, prune: bool) -> ServicePlan:
    """``wanted`` with their ids put in; ``existing`` are the services that carry the stack's label."""
    known = {item["Spec"]["Name"]: item for item in existing}
    names = {service.name for service in wanted}
    there = [(known[service.name], service) for service in wanted if service.name in known]
    return ServicePlan(
        create=tuple(service for service in wanted if service.name not in known),
        update=tuple((item, service) for item, service in there if not specs_equal(item["Spec"], service.spec)),
        unchanged=tuple((item, service) for item, service in there if specs_equal(item["Spec"], service.spec)),
        prune=tuple(item for name, item in sorted(known.items()) if name not in names) if prune else (),
    )


def update_body(item: Item, service: StackService) -> dict[str, Any]:
    """The spec to send: as wanted, with the count of forced updates kept."""
    force = item["Spec"]["TaskTemplate"].get("ForceUpdate", 0)
    return {**service.spec, "TaskTemplate": {**service.spec["TaskTemplate"], "ForceUpdate": force}}


def specs_equal(there: Item, wanted: Item) -> bool:
    """Whether two specs mean the same, whatever they leave to defaults."""
    return bool(_normalized(_without_force(there)) == _normalized(_without_force(wanted)))


def _without_force(spec: Item) -> dict[str, Any]:
    task = {key: value for key, value in spec["TaskTemplate"].items() if key != "ForceUpdate"}
    return {**spec, "TaskTemplate": task}


def _normalized(value: Any, name: str = "") -> Any:
    """Without what says nothing, with the defaults put in; ``name`` is the key under which it stands."""
    if isinstance(value, list):
        return [_normalized(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    given = {**_DEFAULTS.get(name, {}), **value}
    given.update((key, {}) for key in _IMPLIED_POLICIES.get(name, ()) if not given.get(key))
    items = {key: _normalized(item, key) for key, item in given.items() if item is not None}
    return {
        key: item
        for key, item in items.items()
        if (item or key in _ZERO_IS_MEANINGFUL) and _DAEMON_DEFAULTS.get(key) != item
    }
