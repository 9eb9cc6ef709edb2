"""Preemption: on which node a task gets room once others have ended, and which of lower priority end for it. Pure.

Invariant: nobody ends for a task that another filter refuses, nor for nothing: with its victims gone the task passes all filters on its
node, and without any one of them it does not. What ends keeps its resources until it has ended, so that nothing is oversubscribed. While
tasks end anyway whose room is enough, no further one is ended.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from covey.objects import Resources, Task
from covey.states import TaskState
from covey.task_predicates import priority_of
from manager.scheduler.filters import first_refusal, lacks_only_room
from manager.scheduler.node_load import NodeLoad, NodeLoadIndex, TaskUsage, usage_on
from manager.scheduler.request import PlacementRequest
from manager.scheduler.spread import failure_penalty
from manager.store.view import View

MAX_VICTIMS = 64
"""Tasks that one task may end, so that the step fits a transaction."""

_Rank = tuple[int, int, int, int, int, str]


class Candidate(msgspec.Struct, frozen=True):
    """A task that a more important one may end."""

    task: Task
    usage: TaskUsage
    priority: int


class Room(msgspec.Struct, frozen=True):
    """The node on which a task will have room, what it will use of it, and the tasks that end for it."""

    node_id: str
    usage: TaskUsage
    victims: tuple[Task, ...]


class NodeFuture:
    """A node as it is once the tasks that are told to end have ended."""

    def __init__(self, load: NodeLoad, index: NodeLoadIndex, view: View) -> None:
        self.load = load.copy()
        self.candidates: list[Candidate] = []
        for task in view.tasks.by_node(load.node.id if load.node is not None else ""):
            usage = index.usage(task.id)
            if usage is None or usage.failed_at_ns:
                continue
            if not usage.active:
                self.load.add(task.id, usage, -1)
            elif task.service_id and task.status.state >= TaskState.ASSIGNED:
                self.candidates.append(Candidate(task, usage, priority_of(task)))
        resources = load.node.description.resources if load.node is not None else Resources()
        self.candidates.sort(key=lambda item: (-item.priority, _share(item.usage.reserved, resources), _age(item.task)))

    def victims(self, request: PlacementRequest) -> tuple[Candidate, ...] | None:
        """The tasks that have to end for one with the request: as few and unimportant ones as possible. None if that is not enough.

        All that may end are taken away; then those come back, the most important and the smallest first, beside which it still fits.
        """
        if not lacks_only_room(request, self.load):
            return None
        needed = _needed_services(request, self.load)
        lower = [item for item in self.candidates if item.priority < request.placement.priority]
        lower = [item for item in lower if item.usage.service_id not in needed]
        load = self.load.copy()
        for item in lower:
            load.add(item.task.id, item.usage, -1)
        if first_refusal(request, load) is not None:
            return None
        found = []
        for item in lower:
            load.add(item.task.id, item.usage, 1)
            if first_refusal(request, load) is not None:
                load.add(item.task.id, item.usage, -1)
                found.append(item)
        return tuple(found) if len(found) <= MAX_VICTIMS else None

    def end(self, victims: Iterable[Candidate]) -> None:
        for item in victims:
            self.load.add(item.task.id, item.usage, -1)
            self.candidates.remove(item)


class RoomFinder:
    """Finds room for tasks that no node can take now, the most important first. One pass of the planner uses one."""

    def __init__(self, index: NodeLoadIndex, view: View, since_ns: int) -> None:
        self._index = index
        self._view = view
        self._since_ns = since_ns
        self._futures: dict[str, NodeFuture] = {}
        self._request: PlacementRequest | None = None
        self._victims: dict[str, tuple[Candidate, ...] | None] = {}

    def find(self, task: Task, request: PlacementRequest, loads: Iterable[NodeLoad]) -> Room | None:
        """The room for the task on one of the nodes, which is then counted as taken; None if there is none to be had."""
        if not self._index.has_lower_priority(request.placement.priority):
            return None
        if request is not self._request or request.placement.affinities or request.placement.max_skews:
            self._request, self._victims = request, {}
        ranks = [rank for load in loads if (rank := self._rank(load, request)) is not None]
        return self._take(task, request, min(ranks)[-1]) if ranks else None

    def _rank(self, load: NodeLoad, request: PlacementRequest) -> _Rank | None:
        """How good a node is: with victims of low priority, few ones, and few tasks of the service; None if it is of no use."""
        if load.node is None:
            return None
        node_id = load.node.id
        if node_id not in self._victims:
            if node_id not in self._futures:
                self._futures[node_id] = NodeFuture(load, self._index, self._view)
            self._victims[node_id] = self._futures[node_id].victims(request)
        victims = self._victims[node_id]
        if victims is None:
            return None
        return (
            failure_penalty(load, request.service_id, self._since_ns),
            int(bool(victims)),
            max((item.priority for item in victims), default=0),
            len(victims),
            load.active_by_service.get(request.service_id, 0),
            node_id,
        )

    def _take(self, task: Task, request: PlacementRequest, node_id: str) -> Room:
        future, victims = self._futures[node_id], self._victims.pop(node_id) or ()
        future.end(victims)
        usage = usage_on(future.load, request.service_id, request.reserved, request.ports, request.placement.priority)
        future.load.add(task.id, usage, 1)
        self._index.assume(task.id, usage)
        return Room(node_id, usage, tuple([item.task for item in victims]))


def _needed_services(request: PlacementRequest, load: NodeLoad) -> set[str]:
    """The services whose tasks are no victims: the task's own, and those that it must be near."""
    terms = [term for term in request.placement.affinities if not term.apart]
    return {request.service_id} | {service_id for term in terms for service_id in load.domains.targets(term)}


def _share(reserved: Resources, resources: Resources) -> float:
    """How much of the node a task reserves, from 0 to 1."""
    return max(
        reserved.nano_cpus / max(resources.nano_cpus, 1),
        reserved.memory_bytes / max(resources.memory_bytes, 1),
    )


def _age(task: Task) -> tuple[int, str]:
    return task.meta.created_at_ns, task.id
