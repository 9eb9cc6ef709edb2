"""Schema of each kind of object in the store: name, uniqueness of names, indexes.

Invariant: every index is a pure function of one object, so an index update needs only the object before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import msgspec

from covey.objects import Cluster, Config, Network, Node, Object, Secret, Service, Task, TaskSpec, WatchedStack

IndexKeys = Callable[[Any], Iterable[Hashable]]


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of object. ``field`` is its name on the wire and in messages, ``position`` the index of its table in a view."""

    kind: type[Object]
    field: str
    position: int
    name: Callable[[Any], str]
    unique_names: bool
    indexes: dict[str, IndexKeys]


def _annotation_name(item: Any) -> str:
    name: str = item.spec.annotations.name
    return name


def _hostname(node: Node) -> str:
    return node.description.hostname or node.spec.annotations.name


def _task_name(task: Task) -> str:
    return task.annotations.name


def _networks(spec: TaskSpec) -> set[Hashable]:
    return {attachment.target for attachment in spec.networks}


def _secrets(spec: TaskSpec) -> set[Hashable]:
    return {reference.secret_id for reference in spec.container.secrets}


def _configs(spec: TaskSpec) -> set[Hashable]:
    return {reference.config_id for reference in spec.container.configs}


def _task_networks(task: Task) -> set[Hashable]:
    return _networks(task.spec) | {attachment.network_id for attachment in task.networks}


def _service_networks(service: Service) -> set[Hashable]:
    vips = service.endpoint.virtual_ips if service.endpoint else ()
    return _networks(service.spec.task) | {vip.network_id for vip in vips}


_TASK_INDEXES: dict[str, IndexKeys] = {
    "service": lambda task: (task.service_id,),
    "node": lambda task: (task.node_id,) if task.node_id else (),
    "slot": lambda task: ((task.service_id, task.slot),),
    "network": _task_networks,
    "secret": lambda task: _secrets(task.spec),
    "config": lambda task: _configs(task.spec),
}
_SERVICE_INDEXES: dict[str, IndexKeys] = {
    "network": _service_networks,
    "secret": lambda service: _secrets(service.spec.task),
    "config": lambda service: _configs(service.spec.task),
}
_NETWORK_INDEXES: dict[str, IndexKeys] = {"ingress": lambda network: ("",) if network.spec.ingress else ()}
_NODE_INDEXES: dict[str, IndexKeys] = {
    "role": lambda node: (node.role,),
    "address": lambda node: (node.status.addr,) if node.status.addr else (),
}


def _schema(
    position: int,
    kind: type[Object],
    *,
    name: Callable[[Any], str] = _annotation_name,
    unique: bool = True,
    indexes: dict[str, IndexKeys] | None = None,
) -> Schema:
    by = {**(indexes or {}), "name": lambda item: (name(item),) if name(item) else ()}
    return Schema(kind=kind, field=kind.__name__.lower(), position=position, name=name, unique_names=unique, indexes=by)


NODES = _schema(0, Node, name=_hostname, unique=False, indexes=_NODE_INDEXES)
SERVICES = _schema(1, Service, indexes=_SERVICE_INDEXES)
TASKS = _schema(2, Task, name=_task_name, unique=False, indexes=_TASK_INDEXES)
NETWORKS = _schema(3, Network, indexes=_NETWORK_INDEXES)
SECRETS = _schema(4, Secret)
CONFIGS = _schema(5, Config)
CLUSTERS = _schema(6, Cluster)
WATCHED_STACKS = _schema(7, WatchedStack)

SCHEMAS = (NODES, SERVICES, TASKS, NETWORKS, SECRETS, CONFIGS, CLUSTERS, WATCHED_STACKS)
BY_KIND: dict[type[Object], Schema] = {schema.kind: schema for schema in SCHEMAS}
BY_FIELD: dict[str, Schema] = {schema.field: schema for schema in SCHEMAS}
