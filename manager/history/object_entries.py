"""Entries for changes of all objects but tasks, with the attributes of Docker's events. Pure."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec

from covey.objects import Cluster, Config, Network, Node, Secret, Service, WatchedStack
from covey.objects.base import Struct
from covey.states import ServiceMode, UpdateState
from manager.history.option_entries import option_changes

KINDS: dict[type[Struct], str] = {
    Node: "node",
    Service: "service",
    Network: "network",
    Secret: "secret",
    Config: "config",
    WatchedStack: "stack",
    Cluster: "cluster",
}
_MAX_FIELDS = 6
_PARTS = frozenset({"task", "container"})
"""Fields of a spec whose own fields are named."""


class Told(msgspec.Struct, frozen=True):
    """What an entry says of a change: Docker's attributes beside the name, and a sentence, which may be empty."""

    attributes: dict[str, str] = {}
    text: str = ""


def object_name(item: Any) -> str:
    """The name of an object; that of a node is its host's."""
    if isinstance(item, Node):
        return item.spec.annotations.name or item.description.hostname
    return str(item.spec.annotations.name)


def created(item: Any) -> Told:
    if isinstance(item, Service):
        replicas = f", {item.spec.replicas} replicas" if item.spec.mode is ServiceMode.REPLICATED else ""
        mode = _name(item.spec.mode).replace("_", "-")
        return Told(text=f"created: image {item.spec.task.container.image}, {mode}{replicas}")
    return Told(text="joined the cluster" if isinstance(item, Node) else "created")


def updated(before: Any, after: Any) -> Told | None:
    """None for a change that is no event: a stack was checked, and nothing was found."""
    if isinstance(after, Service):
        return _service_updated(before, after)
    if isinstance(after, Node):
        return _node_updated(before, after)
    if isinstance(after, WatchedStack):
        changes = _stack_changes(before, after)
        return Told(changes, ", ".join(f"{key} {value}" for key, value in changes.items())) if changes else None
    fields = changed_fields(before.spec, after.spec) if before.spec != after.spec else ()
    return Told(text=_changed(fields))


def _service_updated(before: Service, after: Service) -> Told:
    attributes: dict[str, str] = {}
    told: list[str] = []
    old, new = before.spec, after.spec
    if old.task.container.image != new.task.container.image:
        attributes |= _pair("image", old.task.container.image, new.task.container.image)
        told.append(f"image {old.task.container.image} -> {new.task.container.image}")
    if old.mode is new.mode is ServiceMode.REPLICATED and old.replicas != new.replicas:
        attributes |= _pair("replicas", str(old.replicas), str(new.replicas))
        told.append(f"replicas {old.replicas} -> {new.replicas}")
    others = [item for item in changed_fields(old, new) if item not in {"replicas", "task.container.image"}]
    told += [_changed(tuple(others))] if others else []
    status, previous = after.update_status, before.update_status
    if status is not None and (previous is None or status.state is not previous.state):
        attributes |= {"updatestate.old": _name(previous.state)} if previous else {}
        attributes |= {"updatestate.new": _name(status.state)}
    if status is not None and status.state is not UpdateState.UNKNOWN and status.message != _message(before):
        told.append(status.message)
    options, sentences = option_changes(before, after)
    return Told(attributes | options, "; ".join([*told, *sentences]))


def _message(service: Service) -> str:
    return service.update_status.message if service.update_status else ""


def _node_updated(before: Node, after: Node) -> Told:
    attributes: dict[str, str] = {}
    told: list[str] = []
    pairs: list[tuple[str, Any, Any]] = [
        ("availability", before.spec.availability, after.spec.availability),
        ("role", before.role, after.role),
        ("state", before.status.state, after.status.state),
    ]
    if before.manager_status is not None and after.manager_status is not None:
        pairs += [
            ("leader", before.manager_status.leader, after.manager_status.leader),
            ("reachability", before.manager_status.reachability, after.manager_status.reachability),
        ]
    for label, old, new in pairs:
        if old != new:
            attributes |= _pair(label, _name(old), _name(new))
            told.append(f"{label} {_name(old)} -> {_name(new)}")
    if after.status.message and after.status.message != before.status.message and told:
        told.append(after.status.message)
    if before.spec.annotations.labels != after.spec.annotations.labels:
        told.append("labels changed")
    return Told(attributes, "; ".join(told))


def _stack_changes(before: WatchedStack, after: WatchedStack) -> dict[str, str]:
    """What a deployment changed, or that there is another spec."""
    old, new = before.status, after.status
    changes: dict[str, str] = {}
    if new.deployed_at_ns != old.deployed_at_ns:
        changes |= {"commit.old": old.deployed_commit, "commit.new": new.deployed_commit}
    if new.deploy_failures > old.deploy_failures:
        changes["error"] = new.deploy_error
    if new.check_error and not old.check_error:
        changes["error"] = new.check_error
    if after.spec != before.spec:
        changes["url"] = after.spec.url
    return changes


def changed_fields(before: Struct, after: Struct, prefix: str = "") -> tuple[str, ...]:
    """The names of the fields that differ, such as ``task.container.env``."""
    found: list[str] = []
    for name in before.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name, None)
        if old is new or old == new:
            continue
        if name in _PARTS and isinstance(old, Struct) and isinstance(new, Struct):
            found += changed_fields(old, new, f"{prefix}{name}.")
        elif name == "annotations":
            found.append(f"{prefix}labels")
        else:
            found.append(f"{prefix}{name}")
    return tuple(found)


def _changed(fields: tuple[str, ...]) -> str:
    more = f" and {len(fields) - _MAX_FIELDS} more" if len(fields) > _MAX_FIELDS else ""
    return f"changed {', '.join(fields[:_MAX_FIELDS])}{more}" if fields else ""


def _pair(label: str, old: str, new: str) -> dict[str, str]:
    return {f"{label}.old": old, f"{label}.new": new}


def _name(value: Any) -> str:
    return value.name.lower() if isinstance(value, IntEnum) else str(value).lower()
