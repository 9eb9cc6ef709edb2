"""Departures: running tasks that leave their node only once a replacement runs elsewhere.

Invariant: a task leaves this way while its node is drained, its service starts new tasks first and the drain's deadline has not passed, or
while it is moved by a rebalance (``Task.moving``). Any other task that may not stay ends at once. Pure; called by ``slot_reconciler``.
"""

from __future__ import annotations

from collections.abc import Collection

from covey.clock import SECOND
from covey.objects import Task, replace
from covey.states import NodeAvailability, TaskState
from manager.orchestrator.slots import ServiceContext, Slot, fits_placement, with_shutdown
from manager.orchestrator.update_policy import is_start_first

PLACEMENT_PATIENCE_NS = 5 * SECOND
"""How long a move waits for the place of its new task before it is given up."""


def leaving_tasks(context: ServiceContext, slot: Slot) -> tuple[Task, ...]:
    """The tasks of the slot that run until a replacement does."""
    return tuple([task for task in slot.active if _is_leaving(context, task)])


def without(slot: Slot, leaving: Collection[Task]) -> Slot:
    """The slot as it is apart from these tasks."""
    ids = {task.id for task in leaving}
    return Slot(slot.key, tuple([task for task in slot.tasks if task.id not in ids]))


def is_replaced(context: ServiceContext, rest: Slot, leaving: Collection[Task]) -> bool:
    """Whether another task of the slot runs in the place of those that leave."""
    outdated = not any(context.up_to_date(task) for task in leaving)
    running = [task for task in rest.active if task.status.state is TaskState.RUNNING]
    return any(_may_stay(context, task) and (outdated or context.up_to_date(task)) for task in running)


def abandoned_move(context: ServiceContext, rest: Slot, leaving: Collection[Task]) -> tuple[Task, ...]:
    """The changed tasks, if a rebalance gives the move up: its new task failed, or no node takes it. The old task stays."""
    moved = [task for task in leaving if task.moving and not context.misplaced(task)]
    lost = [task for task in rest.active if task.status.state.terminal or _is_unplaced(context, task)]
    if not moved or not lost:
        return ()
    return (*[with_shutdown(task) for task in lost], *[replace(task, moving=False) for task in moved])


def next_check_ns(context: ServiceContext, rest: Slot, leaving: Collection[Task]) -> int:
    """When the slot must be looked at again even if nothing happens: the drain's deadline, or the end of a move's patience."""
    nodes = [context.node(task) for task in leaving]
    times = [node.drain_deadline_ns for node in nodes if node is not None and node.drain_deadline_ns]
    if any(task.moving for task in leaving):
        times += [task.meta.created_at_ns + PLACEMENT_PATIENCE_NS for task in rest.active if not task.node_id]
    return min([time_ns for time_ns in times if time_ns > context.now_ns], default=0)


def _is_leaving(context: ServiceContext, task: Task) -> bool:
    node = context.node(task)
    drained = node is not None and node.spec.availability is NodeAvailability.DRAIN
    if not (drained or task.moving) or task.status.state is not TaskState.RUNNING or context.on_lost_node(task):
        return False
    return _drain_waits(context, task) if context.misplaced(task) else task.moving


def _drain_waits(context: ServiceContext, task: Task) -> bool:
    node = context.node(task)
    if node is None or node.spec.availability is not NodeAvailability.DRAIN or context.service.spec.mode.is_global:
        return False
    if context.service.spec.mode.is_job or not is_start_first(context):
        return False
    return context.now_ns < node.drain_deadline_ns and fits_placement(task.spec.placement, node)


def _may_stay(context: ServiceContext, task: Task) -> bool:
    return not context.on_lost_node(task) and not context.misplaced(task)


def _is_unplaced(context: ServiceContext, task: Task) -> bool:
    return not task.node_id and task.meta.created_at_ns + PLACEMENT_PATIENCE_NS <= context.now_ns
