"""Spread ranking: distributes equal tasks evenly over the nodes that passed all filters.

Invariant: the next task goes to the node that meets most of its preferred affinities, then with the fewest tasks of its service, then with
the fewest tasks in total, then to one that has the image. A node on which the
service failed repeatedly comes last. Spread preferences choose the branch first. Placing one task costs the logarithm of the number of
nodes plus the number of branches. Pure.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from covey.clock import MINUTE
from manager.constraints import label_value
from manager.scheduler.filters import first_refusal, may_pass_later
from manager.scheduler.node_filters.affinity import unmet_preferences
from manager.scheduler.node_load import NodeLoad, TaskUsage, usage_on
from manager.scheduler.request import PlacementRequest

FAILURE_THRESHOLD = 3
FAILURE_WINDOW_NS = 5 * MINUTE

AssumeCallback = Callable[[str, TaskUsage], None]
"""Called with the id of a placed task and its usage."""

Branch = tuple[str, ...]
NodeRanking = tuple[int, int, int, int, bool, str]
Ranked = tuple[NodeRanking, NodeLoad]
ImageNodes = Callable[[str], Collection[str]]
"""Returns the ids of the nodes that have the image with a reference."""


def no_image_nodes(_reference: str) -> Collection[str]:
    return ()


class SpreadPlacer:
    """Spreads tasks with one placement request over nodes. ``place_next`` chooses a node and calls ``assume``, which updates the load."""

    def __init__(
        self,
        request: PlacementRequest,
        loads: Iterable[NodeLoad],
        assume: AssumeCallback,
        now_ns: int,
        with_image: Collection[str] = (),
        *,
        watches_own_tasks: bool = False,
    ) -> None:
        """With ``watches_own_tasks``, each placement may open and close other nodes, and change how many preferred terms they meet."""
        self._request = request
        self._watches = watches_own_tasks
        self._reranks = watches_own_tasks and any(
            term.preferred and term.scope for term in request.placement.affinities
        )
        self._assume = assume
        self._with_image = with_image
        self._since_ns = now_ns - FAILURE_WINDOW_NS
        self._heaps: dict[Branch, list[Ranked]] = {}
        self._tasks_in_branch: Counter[Branch] = Counter()
        for load in loads:
            branch = self._branch(load)
            for depth in range(1, len(branch) + 1):
                self._tasks_in_branch[branch[:depth]] += load.active_by_service.get(request.service_id, 0)
            if self._may_take(load):
                self._heaps.setdefault(branch, []).append((self._rank(load), load))
        for heap in self._heaps.values():
            heapq.heapify(heap)

    def place_next(self, task_id: str) -> str | None:
        """The node for one more task; None if no node is left."""
        closed: list[tuple[Branch, Ranked]] = []
        node_id = None
        while self._heaps and node_id is None:
            branch = min(self._heaps, key=self._branch_rank)
            ranked = heapq.heappop(self._heaps[branch])
            if self._watches and first_refusal(self._request, ranked[1]) is not None:
                closed.append((branch, ranked))
            else:
                node_id = self._place_on(task_id, branch, ranked[1])
            if not self._heaps[branch]:
                del self._heaps[branch]
        for branch, ranked in closed:
            heapq.heappush(self._heaps.setdefault(branch, []), ranked)
        if self._reranks:
            self._rank_again()
        return node_id

    def _place_on(self, task_id: str, branch: Branch, load: NodeLoad) -> str:
        node_id = self._assume_on_node(task_id, load)
        for depth in range(1, len(branch) + 1):
            self._tasks_in_branch[branch[:depth]] += 1
        if self._may_take(load):
            heapq.heappush(self._heaps[branch], (self._rank(load), load))
        return node_id

    def _may_take(self, load: NodeLoad) -> bool:
        """Whether the node can take a task, now or once others are placed."""
        if self._watches:
            return may_pass_later(self._request, load)
        return first_refusal(self._request, load) is None

    def _rank_again(self) -> None:
        for heap in self._heaps.values():
            heap[:] = [(self._rank(load), load) for _, load in heap]
            heapq.heapify(heap)

    def _assume_on_node(self, task_id: str, load: NodeLoad) -> str:
        request = self._request
        usage = usage_on(load, request.service_id, request.reserved, request.ports, request.placement.priority)
        self._assume(task_id, usage)
        return usage.node_id

    def _rank(self, load: NodeLoad) -> NodeRanking:
        service_id = self._request.service_id
        node_id = load.node.id if load.node is not None else ""
        return (
            failure_penalty(load, service_id, self._since_ns),
            unmet_preferences(self._request, load),
            load.active_by_service.get(service_id, 0),
            load.active_tasks,
            node_id not in self._with_image,
            node_id,
        )

    def _branch(self, load: NodeLoad) -> Branch:
        """The node's values of the labels that the preferences spread over."""
        node = load.node
        return (
            tuple([label_value(name, node) for name in self._request.placement.preferences]) if node is not None else ()
        )

    def _branch_rank(self, branch: Branch) -> tuple[tuple[int, ...], NodeRanking]:
        levels = tuple([self._tasks_in_branch[branch[:depth]] for depth in range(1, len(branch) + 1)])
        return levels, self._heaps[branch][0][0]


def failure_penalty(load: NodeLoad, service_id: str, since_ns: int) -> int:
    """How many tasks of the service failed on the node since then; 0 as long as they are few."""
    failures = load.recent_failures(service_id, since_ns)
    return failures if failures >= FAILURE_THRESHOLD else 0
