"""Filters: the tasks that are near the node are those that the task must be near, and none that it must be away from. Pure.

Terms that are only preferred refuse no node: ``unmet_preferences`` counts them for the ranking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from covey.objects import Affinity, Node, replace
from covey.service_options.affinity import AFFINITY_LABEL, ANTI_AFFINITY_LABEL, NODE_SCOPE, format_target
from manager.scheduler.filter import Change, Filter, WaitingTask
from manager.scheduler.node_load import NodeLoad
from manager.scheduler.request import PlacementRequest


class AffinityFilter(Filter):
    """The node's domain has a task of each of the services that the task must be near.

    A service that is among those of its own term may begin anywhere while none of them has a task.
    """

    name = "affinity"
    sentence = "affinity not satisfied on {}"

    def passes(self, request: PlacementRequest, _node: Node, load: NodeLoad) -> bool:
        return all(
            is_met(request, term, load)
            for term in request.placement.affinities
            if not term.apart and not term.preferred
        )

    def detail(self, request: PlacementRequest, refused: Sequence[NodeLoad]) -> str:
        terms = [term for term in request.placement.affinities if not term.apart and not term.preferred]
        unmet = [term for term in terms if any(not is_met(request, term, load) for load in refused)]
        return ", ".join(map(format_target, unmet))

    def changes(self, waiting: WaitingTask, _refused: Sequence[NodeLoad]) -> Iterable[Change]:
        yield _without(waiting, AFFINITY_LABEL, apart=False)


class AntiAffinityFilter(Filter):
    """The node's domain has no task that the task must be away from, and none that must be away from it."""

    name = "anti-affinity"
    sentence = "anti-affinity not satisfied on {}"

    def passes(self, request: PlacementRequest, _node: Node, load: NodeLoad) -> bool:
        return next(_hindrances(request, load), "") == ""

    def detail(self, request: PlacementRequest, refused: Sequence[NodeLoad]) -> str:
        return ", ".join(dict.fromkeys(text for load in refused for text in _hindrances(request, load)))

    def changes(self, waiting: WaitingTask, _refused: Sequence[NodeLoad]) -> Iterable[Change]:
        if any(term.apart and not term.preferred for term in waiting.request.placement.affinities):
            yield _without(waiting, ANTI_AFFINITY_LABEL, apart=True)


def is_met(request: PlacementRequest, term: Affinity, load: NodeLoad) -> bool:
    """Whether a task on the node would be near those of a term, or away from them, as the term says."""
    targets = load.domains.targets(term)
    near = load.domains.tasks_near(term.scope, load)
    if term.apart:
        return near is None or not any(near.get(service_id) for service_id in targets)
    if near is None:
        return False
    if any(near.get(service_id) for service_id in targets):
        return True
    return request.service_id in targets and not load.domains.exists_anywhere(targets)


def unmet_preferences(request: PlacementRequest, load: NodeLoad) -> int:
    """How many preferred terms a task on the node would not meet."""
    return sum(1 for term in request.placement.affinities if term.preferred and not is_met(request, term, load))


def _hindrances(request: PlacementRequest, load: NodeLoad) -> Iterator[str]:
    """The terms that keep the task away from the node."""
    for term in request.placement.affinities:
        if term.apart and not term.preferred and not is_met(request, term, load):
            yield format_target(term)
    for owner_id, term in load.domains.keeping_away(request.service_id):
        near = load.domains.tasks_near(term.scope, load)
        if near is not None and near.get(owner_id):
            yield f"service {load.domains.name(owner_id)} keeps away from {term.scope or NODE_SCOPE}s with {_aim(term)}"


def _aim(term: Affinity) -> str:
    return format_target(term).rpartition("@")[0]


def _without(waiting: WaitingTask, label: str, *, apart: bool) -> Change:
    placement = waiting.request.placement
    kept = tuple([term for term in placement.affinities if term.apart != apart or term.preferred])
    return Change(
        text=f"remove the label {label} of service {waiting.service_name}",
        command=f"covey service update --label-rm {label} {waiting.service_name}",
        task=replace(waiting.task, spec=replace(waiting.task.spec, placement=replace(placement, affinities=kept))),
    )
