"""Filter: with one more task, the node's zone has at most N more tasks of the service than the zone with the fewest. Pure.

The zones that count are the values of the label on nodes that are available and meet the constraints and platforms: a zone that is down
stops no other. A zone whose nodes are full still counts. A node without the label is in no zone, and takes no task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from covey.objects import MaxSkew, Node, replace
from covey.service_options.max_skew import MAX_SKEW_LABEL
from manager.constraints import all_match, platform_matches
from manager.scheduler.domains import Domains, domain_of
from manager.scheduler.filter import Change, Filter, WaitingTask
from manager.scheduler.node_filters.availability import is_available
from manager.scheduler.node_load import NodeLoad
from manager.scheduler.request import PlacementRequest


class MaxSkewFilter(Filter):
    name = "max skew"
    sentence = "max skew exceeded on {}"

    def passes(self, request: PlacementRequest, node: Node, load: NodeLoad) -> bool:
        return all(_keeps(request, skew, node, load.domains) for skew in request.placement.max_skews)

    def detail(self, request: PlacementRequest, _refused: Sequence[NodeLoad]) -> str:
        return ", ".join(f"at most {item.limit} more in one {item.scope}" for item in request.placement.max_skews)

    def changes(self, waiting: WaitingTask, _refused: Sequence[NodeLoad]) -> Iterable[Change]:
        placement = replace(waiting.request.placement, max_skews=())
        yield Change(
            text=f"remove the label {MAX_SKEW_LABEL} of service {waiting.service_name}",
            command=f"covey service update --label-rm {MAX_SKEW_LABEL} {waiting.service_name}",
            task=replace(waiting.task, spec=replace(waiting.task.spec, placement=placement)),
        )


def _keeps(request: PlacementRequest, skew: MaxSkew, node: Node, domains: Domains) -> bool:
    zone = domain_of(skew.scope, node)
    if not zone:
        return False
    counts = _tasks_by_zone(request, skew.scope, domains)
    return counts.get(zone, 0) + 1 - min(counts.values(), default=0) <= skew.limit


def _tasks_by_zone(request: PlacementRequest, scope: str, domains: Domains) -> Mapping[str, int]:
    """The tasks of the service by zone."""
    present = domains.by_domain(scope)
    return {zone: present.get(zone, {}).get(request.service_id, 0) for zone in _zones(request, scope, domains)}


def _zones(request: PlacementRequest, scope: str, domains: Domains) -> tuple[str, ...]:
    """The zones that count."""

    def counts(node: Node) -> bool:
        fits = all_match(request.constraints, node) and platform_matches(request.placement.platforms, node)
        return fits and is_available(node)

    key = (scope, request.constraints, request.placement.platforms)
    return domains.zones(key, counts)
