"""Scheduler planner: places pending tasks by priority and group by group, and retries unplaced tasks when something may help them.

Invariant: a task of lower priority never takes the room that one of higher priority waits for. Run by ``manager.leader``.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from covey.errors import InvalidArgumentError
from covey.objects import Node, Object, Resources, Service, Task, replace
from covey.states import TaskState
from covey.task_predicates import creation_order, priority_of, should_run, waits_for_dependencies
from manager.loop import Plan, Step
from manager.scheduler.filter import node_name
from manager.scheduler.filters import explain, first_refusal
from manager.scheduler.generic_resources import wants_any
from manager.scheduler.node_load import NodeLoad, NodeLoadIndex, reservation, usage_on
from manager.scheduler.preemption import Room, RoomFinder
from manager.scheduler.request import PlacementRequest
from manager.scheduler.spread import FAILURE_WINDOW_NS, ImageNodes, SpreadPlacer, no_image_nodes
from manager.store.view import View

UnplacedTask = tuple[PlacementRequest, list[NodeLoad], Task]
"""A placement request, the nodes that were tried, and the task that none of them can take."""


class SchedulerPlanner:
    """Planner of pending tasks. Among equal nodes it prefers those of ``image_nodes``. Tests read ``index``."""

    def __init__(self, image_nodes: ImageNodes = no_image_nodes) -> None:
        self.index = NodeLoadIndex()
        self._image_nodes = image_nodes
        self._services: dict[str, None] = {}
        self._nodes: dict[str, None] = {}
        self._tasks: dict[str, None] = {}
        self._waiting: dict[str, bool] = {}
        """Tasks that found no node, with whether they may find one when another task is placed."""
        self._promised: dict[str, str] = {}
        """The node, on which tasks end, where the index counts a task that waits."""

    def reset(self, view: View) -> None:
        self.index = NodeLoadIndex.from_view(view)
        self._services, self._nodes = {}, {}
        self._waiting, self._promised = {}, {}
        self._tasks = dict.fromkeys(task.id for task in view.tasks if _is_pending(task))

    def observe(self, before: Object | None, after: Object | None) -> None:
        item = after if after is not None else before
        if isinstance(item, Task):
            self._tasks[item.id] = None
        elif isinstance(item, Node):
            self._nodes[item.id] = None
        elif isinstance(item, Service):
            self._services[item.id] = None

    def plan(self, view: View, now_ns: int) -> Plan:
        self.index.sync_services(view, self._services)
        self.index.sync_nodes(view, self._nodes)
        self.index.sync_tasks(view, self._tasks)
        freed, arrived = self.index.capacity_freed, self.index.tasks_arrived
        retried = [key for key, by_arrival in self._waiting.items() if freed or (arrived and by_arrival)]
        keys = dict(self._tasks) | dict.fromkeys(retried)
        pending, promised = _pending_tasks(view, keys), self._promised
        if pending and promised:
            keys |= self._withdrawn_promises()
            pending = _pending_tasks(view, keys)
        for key in keys:
            self._waiting.pop(key, None)
        self.index.capacity_freed = self.index.tasks_arrived = False
        self._services, self._nodes, self._tasks = {}, {}, {}
        plan = self._place(sorted(pending, key=_placement_order), view, now_ns)
        if any(self._promised.get(key) != node_id for key, node_id in promised.items()):
            self.index.capacity_freed = True  # somebody else may have that room
        return replace(plan, wake_at_ns=now_ns) if self.index.capacity_freed else plan

    def _withdrawn_promises(self) -> dict[str, None]:
        """The tasks that were promised room, which is now free for whoever comes first."""
        for key in self._promised:
            self.index.withdraw(key)
        promised, self._promised = self._promised, {}
        return dict.fromkeys(promised)

    def _place(self, tasks: Iterable[Task], view: View, now_ns: int) -> Plan:
        steps: list[Step] = []
        hopeless: list[UnplacedTask] = []
        rooms = RoomFinder(self.index, view, now_ns - FAILURE_WINDOW_NS)
        for _, equals in groupby(tasks, priority_of):
            unplaced: list[UnplacedTask] = []
            steps += self._place_equals(equals, view, unplaced, now_ns)
            for request, loads, task in unplaced:
                room = rooms.find(task, request, loads)
                if room is None:
                    hopeless.append((request, loads, task))
                else:
                    steps += self._wait_for_room(task, room, now_ns)
        reasons: dict[int, str] = {}
        for request, loads, task in hopeless:  # explained last, by the load after all placements, once per group
            reason = reasons.get(id(request)) or reasons.setdefault(id(request), explain(request, loads))
            steps += self._report_unplaced(task, reason, now_ns, by_arrival=_looks_at_tasks(request))
        return Plan(tuple(steps))

    def _place_equals(
        self, tasks: Iterable[Task], view: View, unplaced: list[UnplacedTask], now_ns: int
    ) -> Iterable[Step]:
        """Places tasks of one priority: global ones on their nodes, others group by group, first those that were preempted."""
        steps: list[Step] = []
        groups: dict[tuple[bool, str], list[tuple[PlacementRequest, list[Task]]]] = {}
        for task in tasks:
            try:
                request = PlacementRequest.for_task(task, view.networks)
            except InvalidArgumentError as error:
                steps += self._report_unplaced(task, error.message, now_ns)
                continue
            if task.node_id:
                steps += self._place_on_own_node(task, request, unplaced, now_ns)
            else:
                _add_to_group(groups.setdefault((task.preempted, task.service_id), []), request, task)
        for service_groups in groups.values():
            for request, members in service_groups:
                steps += self._place_group(request, members, unplaced, now_ns)
        return steps

    def _place_group(
        self, request: PlacementRequest, tasks: list[Task], unplaced: list[UnplacedTask], now_ns: int
    ) -> list[Step]:
        loads = self.index.existing_nodes()
        with_image = self._image_nodes(tasks[0].spec.container.image)
        watches = self._looks_at_own_tasks(request)
        placer = SpreadPlacer(request, loads, self.index.assume, now_ns, with_image, watches_own_tasks=watches)
        steps = []
        for task in tasks:
            node_id = placer.place_next(task.id)
            if node_id is None:
                unplaced.append((request, loads, task))
            else:
                steps.append(self._assign(task, node_id, now_ns))
        return steps

    def _looks_at_own_tasks(self, request: PlacementRequest) -> bool:
        """Whether each task of the group that is placed may change which nodes are open to the next."""
        terms = request.placement.affinities
        own = any(request.service_id in self.index.domains.targets(term) for term in terms)
        return own or bool(request.placement.max_skews)

    def _place_on_own_node(
        self, task: Task, request: PlacementRequest, unplaced: list[UnplacedTask], now_ns: int
    ) -> list[Step]:
        """Places a global task: on its own node or nowhere."""
        load = self.index.loads.get(task.node_id)
        if load is None or first_refusal(request, load) is not None:
            unplaced.append((request, [load] if load is not None else [], task))
            return []
        priority = request.placement.priority
        self.index.assume(task.id, usage_on(load, task.service_id, request.reserved, request.ports, priority))
        return [self._assign(task, task.node_id, now_ns)]

    def _assign(self, task: Task, node_id: str, now_ns: int) -> Step:
        node = self.index.loads[node_id].node
        usage, wanted = self.index.usage(task.id), reservation(task)
        claimed = None
        if usage is not None and wanted is not None and wants_any(wanted):
            claimed = Resources(generic=usage.reserved.generic, named_generic=usage.reserved.named_generic)
        status = replace(
            task.status,
            state=TaskState.ASSIGNED,
            timestamp_ns=now_ns,
            message="scheduler assigned task to node",
            error="",
        )
        placed = replace(task, node_id=node_id, status=status, generic_resources=claimed, preempted=False)
        return Step(updates=(placed,), preconditions=(node,) if node else ())

    def _wait_for_room(self, task: Task, room: Room, now_ns: int) -> list[Step]:
        """Ends the victims, if there are any, and says for what the task waits; its room is kept."""
        node = self.index.loads[room.node_id].node
        self._promised[task.id] = room.node_id
        reason = f"waiting until tasks on node {node_name(node) if node is not None else room.node_id} have ended"
        told = self._report_unplaced(task, reason, now_ns)
        if not room.victims:
            return told
        updates = [item for step in told for item in step.updates]
        ended = [_preempted(victim, task) for victim in room.victims]
        unchanged = (node,) if node is not None else ()
        if not updates:
            return [Step(updates=tuple(ended), preconditions=(task, *unchanged))]
        return [Step(updates=(*ended, *updates), preconditions=unchanged)]

    def _report_unplaced(self, task: Task, reason: str, now_ns: int, *, by_arrival: bool = False) -> list[Step]:
        self._waiting[task.id] = by_arrival
        if task.status.error == reason:
            return []
        status = replace(task.status, timestamp_ns=now_ns, error=reason)
        return [Step(updates=(replace(task, status=status),))]


def _pending_tasks(view: View, ids: Iterable[str]) -> list[Task]:
    return [task for key in ids if (task := view.tasks.get(key)) is not None and _is_pending(task)]


def _is_pending(task: Task) -> bool:
    return task.status.state is TaskState.PENDING and should_run(task) and not waits_for_dependencies(task)


def _placement_order(task: Task) -> tuple[int, bool, tuple[int, str]]:
    """The most important first, among equals those that take the place of preempted ones, then the oldest."""
    return -priority_of(task), not task.preempted, creation_order(task)


def _looks_at_tasks(request: PlacementRequest) -> bool:
    """Whether a node may be open to a task of the group after another task was placed."""
    return bool(request.placement.affinities or request.placement.max_skews)


def _preempted(victim: Task, by: Task) -> Task:
    name = f"{by.service_annotations.name}.{by.slot or by.node_id}"
    reason = f"preempted by {name}, whose priority {priority_of(by)} is higher than {priority_of(victim)}"
    return replace(victim, desired_state=TaskState.SHUTDOWN, end_reason=reason, preempted=True)


def _add_to_group(groups: list[tuple[PlacementRequest, list[Task]]], request: PlacementRequest, task: Task) -> None:
    """Adds the task to the group of its service with an equal request, or to a new one."""
    members = next((members for known, members in groups if known == request), None)
    if members is None:
        groups.append((request, [task]))
    else:
        members.append(task)
