"""Filter: the node is connected and takes new tasks. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from covey.objects import Node, replace
from covey.states import NodeAvailability, NodeState
from manager.scheduler.filter import Change, Filter, WaitingTask, node_name
from manager.scheduler.node_load import NodeLoad
from manager.scheduler.request import PlacementRequest

_PARTICIPLES = {NodeAvailability.PAUSE: "paused", NodeAvailability.DRAIN: "drained"}


class AvailabilityFilter(Filter):
    name = "availability"
    sentence = "{} not available for new tasks"

    def passes(self, _request: PlacementRequest, node: Node, _load: NodeLoad) -> bool:
        return is_available(node)

    def detail(self, _request: PlacementRequest, refused: Sequence[NodeLoad]) -> str:
        states = Counter(_state(load.node) for load in refused)
        return ", ".join(f"{number} {state}" for state, number in sorted(states.items()))

    def changes(self, _waiting: WaitingTask, refused: Sequence[NodeLoad]) -> Iterable[Change]:
        nodes = [load.node for load in refused if load.node is not None]
        for node in nodes:
            if node.status.state is NodeState.READY:
                name = node_name(node)
                active = replace(node, spec=replace(node.spec, availability=NodeAvailability.ACTIVE))
                yield Change(
                    text=f"activate the {_state(node)} node {name}",
                    command=f"covey node update --availability active {name}",
                    node=active,
                )
        for node in nodes:
            if node.spec.availability is NodeAvailability.ACTIVE:
                ready = replace(node, status=replace(node.status, state=NodeState.READY))
                yield Change(text=f"bring back the node {node_name(node)}, which is {_state(node)}", node=ready)


def is_available(node: Node) -> bool:
    """Whether the node is connected and takes new tasks."""
    return node.status.state is NodeState.READY and node.spec.availability is NodeAvailability.ACTIVE


def _state(node: Node | None) -> str:
    if node is None:
        return "removed"
    if node.status.state is not NodeState.READY:
        return node.status.state.name.lower()
    return _PARTICIPLES.get(node.spec.availability, "active")
