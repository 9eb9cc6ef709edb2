"""Spread ranking: distributes equal tasks evenly over the nodes that passed all filters.

Invariant: the next task goes to the node with the fewest tasks of its service, then with the fewest tasks in total, then to one that has
the image. A node on which the
service failed repeatedly comes last. Spread preferences choose the branch first. Placing one task costs the logarithm of the number of
nodes plus the number of branches. Pure.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from covey.clock import MINUTE
from manager.constraints import label_value
from manager.scheduler.filters import first_refusal
from manager.scheduler.node_load import NodeLoad, TaskUsage, usage_on
from manager.scheduler.request import PlacementRequest

FAILURE_THRESHOLD = 3
FAILURE_WINDOW_NS = 5 * MINUTE

AssumeCallback = Callable[[str, TaskUsage], None]
"""Called with the id of a placed task and its usage."""

Branch = tuple[str, ...]
NodeRanking = tuple[int, int, int, bool, str]
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
    ) -> None:
        self._request = request
        self._assume = assume
        self._with_image = with_image
        self._since_ns = now_ns - FAILURE_WINDOW_NS
        self._heaps: dict[Branch, list[tuple[NodeRanking, NodeLoad]]] = {}
        self._tasks_in_branch: Counter[Branch] = Counter()
        for load in loads:
            branch = self._branch(load)
            for depth in range(1, len(branch) + 1):
                self._tasks_in_branch[branch[:depth]] += load.active_by_service.get(request.service_id, 0)
            if first_refusal(request, load) is None:
                self._heaps.setdefault(branch, []).append((self._rank(load), load))
        for heap in self._heaps.values():
            heapq.heapify(heap)

    def place_next(self, task_id: str) -> str | None:
        """The node for one more task; None if no node is left."""
        while self._heaps:
            branch = min(self._heaps, key=self._branch_rank)
            heap = self._heaps[branch]
            _, load = heapq.heappop(heap)
            node_id = self._assume_on_node(task_id, load)
            for depth in range(1, len(branch) + 1):
                self._tasks_in_branch[branch[:depth]] += 1
            if first_refusal(self._request, load) is None:
                heapq.heappush(heap, (self._rank(load), load))
            elif not heap:
                del self._heaps[branch]
            return node_id
        return None

    def _assume_on_node(self, task_id: str, load: NodeLoad) -> str:
        request = self._request
        usage = usage_on(load, request.service_id, request.reserved, request.ports)
        self._assume(task_id, usage)
        return usage.node_id

    def _rank(self, load: NodeLoad) -> NodeRanking:
        service_id = self._request.service_id
        failures = load.recent_failures(service_id, self._since_ns)
        node_id = load.node.id if load.node is not None else ""
        penalty = failures if failures >= FAILURE_THRESHOLD else 0
        return (
            penalty,
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
