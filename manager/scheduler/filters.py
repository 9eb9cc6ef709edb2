"""The filters in their order: which refuse a node, and why none of the nodes can take a task. Pure.

Invariant: a node that any filter refuses is never used. A task that cannot be placed says which filter refused how many nodes. A new
filter is a class with its own sentence and suggestions (``filter.Filter``) and a row here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from manager.scheduler.filter import Filter, count_of_nodes
from manager.scheduler.node_filters.affinity import AffinityFilter, AntiAffinityFilter
from manager.scheduler.node_filters.availability import AvailabilityFilter
from manager.scheduler.node_filters.constraints import ConstraintFilter
from manager.scheduler.node_filters.host import EncryptionFilter, PlatformFilter, PluginFilter
from manager.scheduler.node_filters.occupancy import HostPortFilter, MaxReplicasFilter
from manager.scheduler.node_filters.resources import ResourceFilter
from manager.scheduler.node_filters.skew import MaxSkewFilter
from manager.scheduler.node_load import NodeLoad
from manager.scheduler.request import PlacementRequest

NO_NODE = "no suitable node"
_AVAILABLE = AvailabilityFilter()

_NEIGHBOUR_FILTERS: tuple[Filter, ...] = (AffinityFilter(), AntiAffinityFilter(), MaxSkewFilter())
"""Those that look at tasks on other nodes too: what they answer may change with each task that is placed anywhere."""

_ROOM_FILTERS: tuple[Filter, ...] = (ResourceFilter(), HostPortFilter())
"""Those that a node passes once enough of its tasks have ended."""

FILTERS: tuple[Filter, ...] = (
    _AVAILABLE,
    _ROOM_FILTERS[0],
    PluginFilter(),
    ConstraintFilter(),
    PlatformFilter(),
    EncryptionFilter(),
    _ROOM_FILTERS[1],
    MaxReplicasFilter(),
    *_NEIGHBOUR_FILTERS,
)


class Refusal(msgspec.Struct, frozen=True):
    """The nodes that a filter was the first to refuse. ``detail`` names the constraint, resource, port or plugin concerned."""

    filter: Filter
    nodes: tuple[NodeLoad, ...]
    detail: str

    @property
    def sentence(self) -> str:
        """Docker's sentence with the number of nodes."""
        return self.filter.sentence.format(count_of_nodes(len(self.nodes)))

    def __str__(self) -> str:
        return f"{self.sentence}: {self.detail}" if self.detail else self.sentence


def first_refusal(request: PlacementRequest, load: NodeLoad) -> Filter | None:
    """The first filter that refuses the node; None if all pass."""
    node = load.node
    if node is None:
        return _AVAILABLE
    for candidate in FILTERS:
        if not candidate.passes(request, node, load):
            return candidate
    return None


def may_pass_later(request: PlacementRequest, load: NodeLoad) -> bool:
    """Whether the node passes, or does as soon as tasks on other nodes let it."""
    refusing = first_refusal(request, load)
    return refusing is None or refusing in _NEIGHBOUR_FILTERS


def all_refusals(request: PlacementRequest, load: NodeLoad) -> list[Filter]:
    """All filters that refuse the node."""
    node = load.node
    if node is None:
        return [_AVAILABLE]
    return [candidate for candidate in FILTERS if not candidate.passes(request, node, load)]


def lacks_only_room(request: PlacementRequest, load: NodeLoad) -> bool:
    """Whether nothing refuses the node but what its tasks use of it."""
    return all(refusing in _ROOM_FILTERS for refusing in all_refusals(request, load))


def refusals(request: PlacementRequest, loads: Iterable[NodeLoad]) -> list[Refusal]:
    """The filters that refuse the nodes, in order; each node counts under the first."""
    refused: dict[Filter, list[NodeLoad]] = {}
    for load in loads:
        first = first_refusal(request, load)
        if first is not None:
            refused.setdefault(first, []).append(load)
    return [_refusal(request, each, refused[each]) for each in FILTERS if each in refused]


def explain(request: PlacementRequest, loads: Iterable[NodeLoad]) -> str:
    """Human-readable reason why none of the nodes can take a task, in Docker's form."""
    parts = [str(refusal) for refusal in refusals(request, loads)]
    return f"{NO_NODE} ({'; '.join(parts) or 'the cluster has none'})"


def _refusal(request: PlacementRequest, of: Filter, nodes: Sequence[NodeLoad]) -> Refusal:
    return Refusal(of, tuple(nodes), of.detail(request, nodes))
