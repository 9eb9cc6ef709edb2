"""Scheduling filters: the conditions a node must meet to be given a task, in order, with a count of refusals.

Invariant: a node that any filter refuses is never used. A task that cannot be placed says which filter refused how many nodes. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import msgspec

from covey.log_driver import NONE
from covey.network_options import is_encrypted
from covey.objects import Network, Node, Placement, Resources, Task
from covey.states import NodeAvailability, NodeState
from manager.constraints import Constraint, all_match, parse_constraints, platform_matches
from manager.scheduler.generic_resources import wants_any
from manager.scheduler.node_load import NodeLoad, host_ports, reservation
from manager.service_ports import HostPort
from manager.store.table import Table


class PlacementRequest(msgspec.Struct, frozen=True):
    """Requirements that a group of equal tasks has for a node."""

    service_id: str
    constraints: tuple[Constraint, ...]
    placement: Placement
    reserved: Resources
    ports: tuple[HostPort, ...]
    encrypted: bool = False
    """Whether one of the task's networks is encrypted."""
    plugins: frozenset[str] = frozenset()
    """``TYPE/NAME`` of the drivers that the task needs."""

    @classmethod
    def for_task(cls, task: Task, networks: Table[Network]) -> PlacementRequest:
        placement = task.spec.placement or Placement()
        joined = [networks.get(attachment.network_id) for attachment in task.networks]
        return cls(
            service_id=task.service_id,
            constraints=parse_constraints(placement.constraints),
            placement=placement,
            reserved=reservation(task) or Resources(),
            ports=host_ports(task),
            encrypted=any(network is not None and is_encrypted(network.spec.driver.options) for network in joined),
            plugins=frozenset(_needed_plugins(task, joined)),
        )


def _needed_plugins(task: Task, networks: Iterable[Network | None]) -> Iterator[str]:
    log_driver = task.spec.log_driver or task.log_driver
    if log_driver is not None and log_driver.name not in {"", NONE}:
        yield f"Log/{log_driver.name}"
    yield from (f"Network/{network.spec.driver.name}" for network in networks if network and network.spec.driver.name)
    drivers = (mount.volume_driver for mount in task.spec.container.mounts)
    yield from (f"Volume/{driver.name}" for driver in drivers if driver is not None and driver.name)


Filter = Callable[[PlacementRequest, Node, NodeLoad], bool]


def _available_filter(_request: PlacementRequest, node: Node, _load: NodeLoad) -> bool:
    return node.status.state is NodeState.READY and node.spec.availability is NodeAvailability.ACTIVE


def _resource_filter(request: PlacementRequest, node: Node, load: NodeLoad) -> bool:
    reserved, available = request.reserved, node.description.resources
    if reserved.nano_cpus and load.nano_cpus + reserved.nano_cpus > available.nano_cpus:
        return False
    if reserved.memory_bytes and load.memory_bytes + reserved.memory_bytes > available.memory_bytes:
        return False
    return not wants_any(reserved) or load.claim(reserved) is not None


def _constraint_filter(request: PlacementRequest, node: Node, _load: NodeLoad) -> bool:
    return all_match(request.constraints, node)


def _plugin_filter(request: PlacementRequest, node: Node, _load: NodeLoad) -> bool:
    plugins = node.description.engine.plugins
    return not plugins or request.plugins <= set(plugins)


def _platform_filter(request: PlacementRequest, node: Node, _load: NodeLoad) -> bool:
    return platform_matches(request.placement.platforms, node)


def _encryption_filter(request: PlacementRequest, node: Node, _load: NodeLoad) -> bool:
    return not request.encrypted or node.description.wireguard is not None


def _host_port_filter(request: PlacementRequest, _node: Node, load: NodeLoad) -> bool:
    return not any(port in load.ports for port in request.ports)


def _max_replicas_filter(request: PlacementRequest, _node: Node, load: NodeLoad) -> bool:
    limit = request.placement.max_replicas
    return not limit or load.active_by_service.get(request.service_id, 0) < limit


FILTERS: tuple[tuple[Filter, str], ...] = (
    (_available_filter, "{} not available for new tasks"),
    (_resource_filter, "insufficient resources on {}"),
    (_plugin_filter, "missing plugin on {}"),
    (_constraint_filter, "scheduling constraints not satisfied on {}"),
    (_platform_filter, "unsupported platform on {}"),
    (_encryption_filter, "no WireGuard for encrypted networks on {}"),
    (_host_port_filter, "host-mode port already in use on {}"),
    (_max_replicas_filter, "max replicas per node limit exceed on {}"),
)


def first_refusal(request: PlacementRequest, load: NodeLoad) -> str | None:
    """The sentence of the first filter that refuses the node, with a placeholder for the number of nodes; None if all pass."""
    node = load.node
    if node is None:
        return FILTERS[0][1]
    for passes, sentence in FILTERS:
        if not passes(request, node, load):
            return sentence
    return None


def explain(request: PlacementRequest, loads: Iterable[NodeLoad]) -> str:
    """Human-readable reason why none of the nodes can take a task."""
    refusals = Counter([first_refusal(request, load) for load in loads])
    parts = []
    for _, sentence in FILTERS:
        count = refusals[sentence]
        if count:
            parts.append(sentence.format(f"{count} node" if count == 1 else f"{count} nodes"))
    return f"no suitable node ({'; '.join(parts)})" if parts else "no suitable node (the cluster has none)"
