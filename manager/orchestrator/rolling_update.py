"""Rolling updates and rollbacks: which slots change to the new spec now, and when the update is completed, paused or rolled back.

Invariant: all progress is in the store: the slots' tasks, their timestamps and the service's update status. A new leader continues where
the old one stopped. Pure; called by the service planner after slot reconciliation.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from covey.objects import Service, Task, UpdateStatus, replace
from covey.states import TaskState, UpdateFailureAction, UpdateState
from manager.loop import EMPTY, Plan, Step
from manager.loop.plan import earliest
from manager.orchestrator import canaries, rebalance
from manager.orchestrator.slot_reconciler import new_task_for_slot
from manager.orchestrator.slots import ServiceContext, Slot, SlotKey, with_shutdown
from manager.orchestrator.update_policy import active_update_config, is_start_first, is_testing_canaries

_PAUSED = (UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED)
_RUNNING = (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED)
_FAILED = (TaskState.FAILED, TaskState.REJECTED)
_ROLLED_BACK = "update rolled back"
_MAX_ERROR_CHARACTERS = 500


class UpdateProgress(msgspec.Struct, frozen=True):
    """Progress of an update. Tasks of ``starting`` slots do not run yet; those of ``delaying`` slots run, for less than the update delay.

    ``settled_at_ns``: when the last updated task will have run for the monitored time; 0 if all have.
    """

    dirty: tuple[Slot, ...]
    starting: int
    delaying: int
    failed: tuple[Task, ...]
    next_slot_at_ns: int
    settled_at_ns: int


def plan_update(
    context: ServiceContext, slots: Sequence[Slot], busy: Collection[SlotKey], unsettled: Sequence[Slot]
) -> Plan:
    """The next steps of an update over the remaining slots. ``busy`` slots already get another step in this pass, and only those that are
    ``unsettled`` can have tasks of an old spec.
    """
    status = context.service.update_status or UpdateStatus()
    dirty = [slot for slot in unsettled if is_dirty(context, slot)]
    if status.state in _PAUSED and not status.awaits_promotion:
        return EMPTY
    if status.state not in _RUNNING and not status.awaits_promotion:
        if not dirty:
            return _begin_rebalance(context, slots, status, busy)
        status = UpdateStatus(state=UpdateState.UPDATING, started_at_ns=context.now_ns, message="update in progress")
    progress = _measure_progress(context, slots, dirty, status)
    failed = _apply_failure_action(context, slots, status, progress)
    if failed is not None:
        return _plan([], context.service, failed)
    if status.rebalancing:
        return _continue_rebalance(context, slots, busy, status, progress)
    testing = is_testing_canaries(context, status) and canaries.are_needed(context, dirty)
    test = canaries.judge(context, slots, status) if testing else canaries.ALL
    status = _with_progress(context, replace(status, promoted=True) if test.promoted else status, test.message)
    if test.awaits_promotion:
        return _plan([], context.service, replace(context.service, update_status=canaries.paused(status)))
    candidates = [slot for slot in _update_order(progress.dirty) if slot.key not in busy]
    held = sum(slot.key in busy and not _is_running(slot) for slot in progress.dirty)
    free = max(0, min(test.free, _free_parallelism(context, progress, len(slots)) - held))
    steps = [_replace_task(context, slot) for slot in candidates[:free]]
    finished = not dirty and not progress.starting and not busy
    if finished and not progress.settled_at_ns:
        return _completed(context, status)
    wake_at_ns = earliest(progress.next_slot_at_ns if dirty else 0, progress.settled_at_ns if finished else 0)
    after = replace(context.service, update_status=status)
    return _plan(steps, context.service, after, earliest(wake_at_ns, test.wake_at_ns))


def _with_progress(context: ServiceContext, status: UpdateStatus, message: str) -> UpdateStatus:
    """The status of an update that goes on; the message of a rollback stays."""
    if status.state is UpdateState.ROLLBACK_STARTED:
        return status
    return replace(
        status,
        state=UpdateState.UPDATING,
        awaits_promotion=False,
        message=f"update in progress: {context.waiting_for}" if context.waiting_for else message,
    )


def _begin_rebalance(
    context: ServiceContext, slots: Sequence[Slot], status: UpdateStatus, busy: Collection[SlotKey]
) -> Plan:
    """Begins a rebalance that the service's policy asks for."""
    if busy or not rebalance.wants_rebalance(context, status):
        return EMPTY
    move = rebalance.next_move(context, slots, status)
    if move.slot is None:
        return Plan((), move.look_again_at_ns)
    return _plan([], context.service, replace(context.service, update_status=rebalance.begun(context.now_ns)))


def _continue_rebalance(
    context: ServiceContext,
    slots: Sequence[Slot],
    busy: Collection[SlotKey],
    status: UpdateStatus,
    progress: UpdateProgress,
) -> Plan:
    """The next move within the update policy, or the end. Slots that lack a running task count as being updated."""
    move = rebalance.NextMove() if busy else rebalance.next_move(context, slots, status)
    if move.slot is not None:
        unready = sum(not _is_ready(slot) for slot in slots)
        most = (active_update_config(context).parallelism or len(slots)) - unready - progress.delaying
        steps = [_replace_task(context, move.slot)] if most > 0 and not context.waiting_for else []
        return Plan(tuple(steps), progress.next_slot_at_ns)
    if busy or progress.starting or any(len(slot.active) > 1 for slot in slots):
        return Plan((), progress.next_slot_at_ns)
    return Plan((), progress.settled_at_ns) if progress.settled_at_ns else _completed(context, status)


def _is_ready(slot: Slot) -> bool:
    """Whether the slot has its task, which runs, and no other."""
    return len(slot.active) == 1 and slot.active[0].status.state is TaskState.RUNNING


def _completed(context: ServiceContext, status: UpdateStatus) -> Plan:
    done = replace(context.service, update_status=_completed_status(status, context.now_ns))
    return _plan([], context.service, done)


def is_dirty(context: ServiceContext, slot: Slot) -> bool:
    """Whether an update has to replace what the slot runs."""
    active = slot.active
    return bool(active) and not any(context.up_to_date(task) for task in active)


def _measure_progress(
    context: ServiceContext, slots: Sequence[Slot], dirty: Sequence[Slot], status: UpdateStatus
) -> UpdateProgress:
    config = active_update_config(context)
    starting, delaying, next_slot_at_ns, settled_at_ns = 0, 0, 0, 0
    failed: list[Task] = []
    for slot in slots:
        # Also tasks from before this update's start: another update, such as a scaling, begins while the last one's tasks still start.
        updated = [task for task in slot.tasks if context.up_to_date(task)]
        failed_task = next((task for task in updated if _has_failed(task) and _is_of(status, task)), None)
        if failed_task is not None:
            failed.append(failed_task)
        for task in updated:
            if task.desired_state > TaskState.RUNNING:
                continue
            if task.status.state < TaskState.RUNNING:
                starting += failed_task is None
            elif task.status.state is TaskState.RUNNING:
                # The earlier of the two: a node whose clock is ahead must not delay the update.
                running_since_ns = min(task.status.timestamp_ns, task.meta.updated_at_ns)
                if running_since_ns + config.delay_ns > context.now_ns:
                    delaying += 1
                    next_slot_at_ns = earliest(next_slot_at_ns, running_since_ns + config.delay_ns)
                settled_at_ns = max(settled_at_ns, running_since_ns + config.monitor_ns)
    return UpdateProgress(
        dirty=tuple(dirty),
        starting=starting,
        delaying=delaying,
        failed=tuple(failed),
        next_slot_at_ns=next_slot_at_ns,
        settled_at_ns=settled_at_ns if settled_at_ns > context.now_ns else 0,
    )


def _is_of(status: UpdateStatus, task: Task) -> bool:
    """Whether the update created the task."""
    return task.meta.created_at_ns >= status.started_at_ns


def _has_failed(task: Task) -> bool:
    return task.restarts > 0 or (task.status.state in _FAILED and not task.end_reason)


def _apply_failure_action(
    context: ServiceContext,
    slots: Sequence[Slot],
    status: UpdateStatus,
    progress: UpdateProgress,
) -> Service | None:
    """The service after its failure action, if too many updated slots failed; otherwise None."""
    config = active_update_config(context)
    testing = is_testing_canaries(context, status)
    tolerated = config.max_failure_ratio * min(
        len(slots), context.service.spec.rollout.canaries if testing else len(slots)
    )
    if len(progress.failed) <= tolerated or config.failure_action is UpdateFailureAction.CONTINUE:
        return None
    service, rolling_back = context.service, status.state is UpdateState.ROLLBACK_STARTED
    cause = _failure_cause(slots, progress.failed[0])
    previous = service.previous_spec
    may_roll_back = not rolling_back and not status.rebalancing and previous is not None
    if config.failure_action is UpdateFailureAction.ROLLBACK and may_roll_back and previous is not None:
        rollback_status = UpdateStatus(
            state=UpdateState.ROLLBACK_STARTED,
            started_at_ns=context.now_ns,
            message=f"{_ROLLED_BACK} {cause}",
        )
        return replace(
            service,
            spec=previous,
            version_before_spec=service.meta.version,
            spec_version=service.previous_spec_version,
            previous_spec=None,
            previous_spec_version=0,
            update_status=rollback_status,
        )
    state = UpdateState.ROLLBACK_PAUSED if rolling_back else UpdateState.PAUSED
    action = "rollback" if rolling_back else "rebalance" if status.rebalancing else "update"
    message = f"{action} paused {cause}{_reason_of_rollback(status, '; ')}"
    return replace(service, update_status=replace(status, state=state, message=message, awaits_promotion=False))


def _failure_cause(slots: Sequence[Slot], failed: Task) -> str:
    """Which task failed, and its error: that of the task itself, or of the one that it replaced after a restart."""
    tasks = next((slot.tasks for slot in slots if failed in slot.tasks), ())
    errors = [task.status.error for task in tasks if task.status.state in _FAILED and task.spec == failed.spec]
    error = failed.status.error or next((text for text in reversed(errors) if text), "")
    what = f"due to failure or early termination of task {failed.id}"
    return f"{what}: {error[:_MAX_ERROR_CHARACTERS]}" if error else what


def _reason_of_rollback(status: UpdateStatus, separator: str) -> str:
    """Why an update was rolled back by itself, behind a separator; empty if a user asked for the rollback."""
    rolling_back = status.state is UpdateState.ROLLBACK_STARTED and status.message.startswith(_ROLLED_BACK)
    return f"{separator}{status.message}" if rolling_back else ""


def _free_parallelism(context: ServiceContext, progress: UpdateProgress, total: int) -> int:
    if context.waiting_for:
        return 0  # the old tasks run until the new ones may start
    parallelism = active_update_config(context).parallelism or total
    return max(0, parallelism - progress.starting - progress.delaying)


def _update_order(dirty: Sequence[Slot]) -> list[Slot]:
    """Slots without a running task are updated first: nothing is lost by that."""
    return sorted(dirty, key=_is_running)


def _is_running(slot: Slot) -> bool:
    return any(task.status.state is TaskState.RUNNING for task in slot.active)


def _replace_task(context: ServiceContext, slot: Slot) -> Step:
    """The step that has a new task take the place of the slot's. A task of the current spec moves to another node."""
    old = slot.active
    if not is_start_first(context):
        ended = tuple([with_shutdown(task) for task in old])
        return Step(updates=ended, creates=(new_task_for_slot(context, slot, old),), preconditions=(context.service,))
    moved = [replace(task, moving=True) for task in old if context.up_to_date(task)]
    useless = tuple([task for task in old[1:] if task.status.state is not TaskState.RUNNING])
    return Step(
        updates=(*moved, *[with_shutdown(task) for task in useless]),
        creates=(new_task_for_slot(context, slot, useless),),
        preconditions=(context.service,),
    )


def _completed_status(status: UpdateStatus, now_ns: int) -> UpdateStatus:
    rolling_back = status.state is UpdateState.ROLLBACK_STARTED
    action = "rollback" if rolling_back else "rebalance" if status.rebalancing else "update"
    return replace(
        status,
        state=UpdateState.ROLLBACK_COMPLETED if rolling_back else UpdateState.COMPLETED,
        completed_at_ns=now_ns,
        awaits_promotion=False,
        message=f"{action} completed{_reason_of_rollback(status, ': ')}",
    )


def _plan(steps: list[Step], before: Service, after: Service, wake_at_ns: int = 0) -> Plan:
    """The service's own change comes last, because the other steps require it unchanged."""
    if after.update_status != before.update_status:
        steps = [*steps, Step(updates=(after,))]
    return Plan(tuple(steps), wake_at_ns)
