"""Scheduler planner: places pending tasks group by group, and retries unplaced tasks when a node gains capacity.

Run by ``manager.leader``.
"""

from __future__ import annotations

from collections.abc import Iterable

from covey.errors import InvalidArgumentError
from covey.objects import Node, Object, Resources, Task, replace
from covey.states import TaskState
from covey.task_predicates import creation_order, should_run, waits_for_dependencies
from manager.loop import Plan, Step
from manager.scheduler.filters import explain, first_refusal
from manager.scheduler.generic_resources import wants_any
from manager.scheduler.node_load import NodeLoad, NodeLoadIndex, reservation, usage_on
from manager.scheduler.request import PlacementRequest
from manager.scheduler.spread import ImageNodes, SpreadPlacer, no_image_nodes
from manager.store.view import View

UnplacedTask = tuple[PlacementRequest, list[NodeLoad], Task]
"""A placement request, the nodes that were tried, and the task that none of them can take."""


class SchedulerPlanner:
    """Planner of pending tasks. Among equal nodes it prefers those of ``image_nodes``. Tests read ``index``."""

    def __init__(self, image_nodes: ImageNodes = no_image_nodes) -> None:
        self.index = NodeLoadIndex()
        self._image_nodes = image_nodes
        self._nodes: dict[str, None] = {}
        self._tasks: dict[str, None] = {}
        self._waiting: dict[str, None] = {}

    def reset(self, view: View) -> None:
        self.index = NodeLoadIndex.from_view(view)
        self._nodes = {}
        self._waiting = {}
        self._tasks = dict.fromkeys(task.id for task in view.tasks if _is_pending(task))

    def observe(self, before: Object | None, after: Object | None) -> None:
        item = after if after is not None else before
        if isinstance(item, Task):
            self._tasks[item.id] = None
        elif isinstance(item, Node):
            self._nodes[item.id] = None

    def plan(self, view: View, now_ns: int) -> Plan:
        self.index.sync_nodes(view, self._nodes)
        self.index.sync_tasks(view, self._tasks)
        keys = dict(self._tasks)
        if self.index.capacity_freed:
            keys |= self._waiting
            self._waiting = {}
        self.index.capacity_freed = False
        self._nodes, self._tasks = {}, {}
        pending = [task for key in keys if (task := view.tasks.get(key)) is not None and _is_pending(task)]
        return self._place(sorted(pending, key=creation_order), view, now_ns)

    def _place(self, tasks: Iterable[Task], view: View, now_ns: int) -> Plan:
        steps: list[Step] = []
        unplaced: list[UnplacedTask] = []
        groups: dict[str, list[tuple[PlacementRequest, list[Task]]]] = {}
        for task in tasks:
            try:
                request = PlacementRequest.for_task(task, view.networks)
            except InvalidArgumentError as error:
                steps += self._report_unplaced(task, error.message, now_ns)
                continue
            if task.node_id:
                steps += self._place_on_own_node(task, request, unplaced, now_ns)
            else:
                _add_to_group(groups.setdefault(task.service_id, []), request, task)
        for service_groups in groups.values():
            for request, members in service_groups:
                steps += self._place_group(request, members, unplaced, now_ns)
        reasons: dict[int, str] = {}
        for request, loads, task in unplaced:  # explained last, by the load after all placements, once per group
            reason = reasons.get(id(request)) or reasons.setdefault(id(request), explain(request, loads))
            steps += self._report_unplaced(task, reason, now_ns)
        return Plan(tuple(steps))

    def _place_group(
        self, request: PlacementRequest, tasks: list[Task], unplaced: list[UnplacedTask], now_ns: int
    ) -> list[Step]:
        loads = self.index.existing_nodes()
        with_image = self._image_nodes(tasks[0].spec.container.image)
        placer = SpreadPlacer(request, loads, self.index.assume, now_ns, with_image)
        steps = []
        for task in tasks:
            node_id = placer.place_next(task.id)
            if node_id is None:
                unplaced.append((request, loads, task))
            else:
                steps.append(self._assign(task, node_id, now_ns))
        return steps

    def _place_on_own_node(
        self, task: Task, request: PlacementRequest, unplaced: list[UnplacedTask], now_ns: int
    ) -> list[Step]:
        """Places a global task: on its own node or nowhere."""
        load = self.index.loads.get(task.node_id)
        if load is None or first_refusal(request, load) is not None:
            unplaced.append((request, [load] if load is not None else [], task))
            return []
        self.index.assume(task.id, usage_on(load, task.service_id, request.reserved, request.ports))
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
        placed = replace(task, node_id=node_id, status=status, generic_resources=claimed)
        return Step(updates=(placed,), preconditions=(node,) if node else ())

    def _report_unplaced(self, task: Task, reason: str, now_ns: int) -> list[Step]:
        self._waiting[task.id] = None
        if task.status.error == reason:
            return []
        status = replace(task.status, timestamp_ns=now_ns, error=reason)
        return [Step(updates=(replace(task, status=status),))]


def _is_pending(task: Task) -> bool:
    return task.status.state is TaskState.PENDING and should_run(task) and not waits_for_dependencies(task)


def _add_to_group(groups: list[tuple[PlacementRequest, list[Task]]], request: PlacementRequest, task: Task) -> None:
    """Adds the task to the group of its service with an equal request, or to a new one."""
    members = next((members for known, members in groups if known == request), None)
    if members is None:
        groups.append((request, [task]))
    else:
        members.append(task)
