"""Choosing among the nodes that passed: equal tasks are spread over them like water over a floor.

Law: the next task goes where fewest of its service are, then where fewest tasks are at all; a node on which the service failed again
and again comes last; spread preferences choose the branch first. A placement costs the logarithm of the nodes, and the number of
branches. Pure.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable

from covey.clock import MINUTE
from manager.scheduler.constraint import label
from manager.scheduler.filters import Demand, refusal
from manager.scheduler.load import Burden, NodeLoad

FAILURES_THAT_COUNT = 3
FAILURE_MEMORY_NS = 5 * MINUTE

Assume = Callable[[str, Burden], None]
"""Told the task and what it puts on its node."""

Branch = tuple[str, ...]
_Rank = tuple[int, int, int, str]


class Waters:
    """The nodes that may take tasks of one demand; ``take`` chooses one after another and tells ``assume``, which changes the loads."""

    def __init__(self, demand: Demand, loads: Iterable[NodeLoad], assume: Assume, now_ns: int) -> None:
        self._demand = demand
        self._assume = assume
        self._since_ns = now_ns - FAILURE_MEMORY_NS
        self._heaps: dict[Branch, list[tuple[_Rank, NodeLoad]]] = {}
        self._in_branch: Counter[Branch] = Counter()
        for load in loads:
            branch = self._branch(load)
            for depth in range(1, len(branch) + 1):
                self._in_branch[branch[:depth]] += load.by_service.get(demand.service_id, 0)
            if refusal(demand, load) is None:
                self._heaps.setdefault(branch, []).append((self._rank(load), load))
        for heap in self._heaps.values():
            heapq.heapify(heap)

    def take(self, task_id: str) -> str | None:
        """The node for one more task; None when no node is left."""
        while self._heaps:
            branch = min(self._heaps, key=self._branch_rank)
            heap = self._heaps[branch]
            _, load = heapq.heappop(heap)
            node_id = self._put(task_id, load)
            for depth in range(1, len(branch) + 1):
                self._in_branch[branch[:depth]] += 1
            if refusal(self._demand, load) is None:
                heapq.heappush(heap, (self._rank(load), load))
            elif not heap:
                del self._heaps[branch]
            return node_id
        return None

    def _put(self, task_id: str, load: NodeLoad) -> str:
        node_id = load.node.id if load.node is not None else ""
        demand = self._demand
        self._assume(task_id, Burden(node_id, demand.service_id, demand.reserved, demand.ports, counts=True))
        return node_id

    def _rank(self, load: NodeLoad) -> _Rank:
        service_id = self._demand.service_id
        failures = load.recent_failures(service_id, self._since_ns)
        node_id = load.node.id if load.node is not None else ""
        bad = failures if failures >= FAILURES_THAT_COUNT else 0
        return bad, load.by_service.get(service_id, 0), load.total, node_id

    def _branch(self, load: NodeLoad) -> Branch:
        node = load.node
        return tuple([label(name, node) for name in self._demand.placement.preferences]) if node is not None else ()

    def _branch_rank(self, branch: Branch) -> tuple[tuple[int, ...], _Rank]:
        levels = tuple([self._in_branch[branch[:depth]] for depth in range(1, len(branch) + 1)])
        return levels, self._heaps[branch][0][0]
