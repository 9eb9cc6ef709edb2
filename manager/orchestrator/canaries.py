"""Canaries: the first tasks of an update, which the others follow only after a promotion by hand or by health.

Invariant: while an update is not promoted, no more slots than canaries have tasks of the new spec. Pure; called by ``rolling_update``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from covey.objects import Task, UpdateStatus, replace
from covey.quantities import go_duration
from covey.states import TaskState, UpdateState
from manager.orchestrator.slots import ServiceContext, Slot, same_work


class CanaryTest(msgspec.Struct, frozen=True):
    """How many more slots may be updated, and whether the test is over. ``wake_at_ns``: when it will be, if all stay healthy."""

    free: int = 0
    message: str = "update in progress"
    promoted: bool = False
    awaits_promotion: bool = False
    wake_at_ns: int = 0


ALL = CanaryTest(free=sys.maxsize)
"""No test: every slot may be updated."""


def are_needed(context: ServiceContext, dirty: Sequence[Slot]) -> bool:
    """Whether slots that are still to be updated get other work than they have: a restart has nothing to test."""
    spec = context.service.spec.task
    return any(
        not same_work(replace(task.spec, force_update=spec.force_update), spec)
        for slot in dirty
        for task in slot.active
    )


def judge(context: ServiceContext, slots: Sequence[Slot], status: UpdateStatus) -> CanaryTest:
    """The state of the test, with other slots still to be updated."""
    options = context.service.spec.rollout
    updated = [task for slot in slots if (task := _updated_task(context, slot)) is not None]
    healthy = [task for task in updated if task.status.state is TaskState.RUNNING]
    count = f"{len(healthy)} of {len(slots)} tasks run the new spec"
    if len(updated) < options.canaries:
        return CanaryTest(free=options.canaries - len(updated), message=f"canary: {count}")
    if len(healthy) < len(updated):
        return CanaryTest(message=f"canary: {count}", awaits_promotion=status.awaits_promotion)
    if not options.canary_monitor_ns:
        name = context.service.spec.annotations.name
        how = f"go on with: covey service promote {name}, or return with: covey service rollback {name}"
        return CanaryTest(message=f"canary: {count}; {how}", awaits_promotion=True)
    due_ns = max(min(task.status.timestamp_ns, task.meta.updated_at_ns) for task in healthy) + options.canary_monitor_ns
    if due_ns <= context.now_ns:
        return ALL_PROMOTED
    monitor = go_duration(options.canary_monitor_ns)
    message = f"canary: {count}; the others follow once these have run for {monitor}"
    return CanaryTest(message=message, wake_at_ns=due_ns)


ALL_PROMOTED = replace(ALL, promoted=True)


def paused(status: UpdateStatus) -> UpdateStatus:
    """The status of an update that waits for a promotion."""
    return replace(status, state=UpdateState.PAUSED, awaits_promotion=True)


def _updated_task(context: ServiceContext, slot: Slot) -> Task | None:
    """The best task of the slot that has the new spec."""
    clean = [task for task in slot.active if context.up_to_date(task)]
    return max(clean, key=lambda task: task.status.state is TaskState.RUNNING, default=None)
