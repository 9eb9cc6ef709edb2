"""The filters a node must pass to be given a task, in order; each refusal is counted under the filter that made it.

Law: a node that any filter refuses is never used, and a task that cannot be placed says which filter refused how many nodes. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from covey.objects import Node, Placement, Resources, Task
from covey.states import NodeAvailability, NodeState
from manager.scheduler.constraint import Constraint, all_match, parse_constraints, platform_fits
from manager.scheduler.load import HostPort, NodeLoad, host_ports, reservation


class Demand(msgspec.Struct, frozen=True):
    """What equal tasks ask of a node."""

    service_id: str
    constraints: tuple[Constraint, ...]
    placement: Placement
    reserved: Resources
    ports: tuple[HostPort, ...]

    @classmethod
    def of(cls, task: Task) -> Demand:
        placement = task.spec.placement or Placement()
        return cls(
            service_id=task.service_id,
            constraints=parse_constraints(placement.constraints),
            placement=placement,
            reserved=reservation(task) or Resources(),
            ports=host_ports(task),
        )


Filter = Callable[[Demand, Node, NodeLoad], bool]


def _available(_demand: Demand, node: Node, _load: NodeLoad) -> bool:
    return node.status.state is NodeState.READY and node.spec.availability is NodeAvailability.ACTIVE


def _resources(demand: Demand, node: Node, load: NodeLoad) -> bool:
    asked, has = demand.reserved, node.description.resources
    if asked.nano_cpus and load.nano_cpus + asked.nano_cpus > has.nano_cpus:
        return False
    if asked.memory_bytes and load.memory_bytes + asked.memory_bytes > has.memory_bytes:
        return False
    return all(load.generic.get(name, 0) + number <= has.generic.get(name, 0) for name, number in asked.generic.items())


def _constraints(demand: Demand, node: Node, _load: NodeLoad) -> bool:
    return all_match(demand.constraints, node)


def _platform(demand: Demand, node: Node, _load: NodeLoad) -> bool:
    return platform_fits(demand.placement.platforms, node)


def _ports(demand: Demand, _node: Node, load: NodeLoad) -> bool:
    return not any(port in load.ports for port in demand.ports)


def _replicas(demand: Demand, _node: Node, load: NodeLoad) -> bool:
    bound = demand.placement.max_replicas
    return not bound or load.by_service.get(demand.service_id, 0) < bound


FILTERS: tuple[tuple[Filter, str], ...] = (
    (_available, "{} not available for new tasks"),
    (_resources, "insufficient resources on {}"),
    (_constraints, "scheduling constraints not satisfied on {}"),
    (_platform, "unsupported platform on {}"),
    (_ports, "host-mode port already in use on {}"),
    (_replicas, "max replicas per node limit exceed on {}"),
)


def refusal(demand: Demand, load: NodeLoad) -> str | None:
    """The sentence of the first filter that refuses the node, with a place for the number of nodes; None when all pass."""
    node = load.node
    if node is None:
        return FILTERS[0][1]
    for passes, sentence in FILTERS:
        if not passes(demand, node, load):
            return sentence
    return None


def explain(demand: Demand, loads: Iterable[NodeLoad]) -> str:
    """Why none of the nodes can take a task."""
    refusals = Counter([refusal(demand, load) for load in loads])
    parts = []
    for _, sentence in FILTERS:
        count = refusals[sentence]
        if count:
            parts.append(sentence.format(f"{count} node" if count == 1 else f"{count} nodes"))
    return f"no suitable node ({'; '.join(parts)})" if parts else "no suitable node (the cluster has none)"
