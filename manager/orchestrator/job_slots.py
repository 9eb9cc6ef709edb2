"""The slots of a job's present run, sorted by what they still need. Pure; called by the planners of jobs and for dependencies."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from covey.objects import Task
from covey.states import TaskState
from manager.orchestrator.slot_reconciler import is_finished
from manager.orchestrator.slots import ServiceContext, Slot, SlotKey


class JobSlots(msgspec.Struct, frozen=True):
    """``closed`` are the slots that get no new task: they have completed, failed for good, or have a task; of a global job also those
    where a task of an earlier run may still run. ``concurrent`` counts the slots with a task that runs, will run or may still run, and
    the tasks of earlier runs that may.
    """

    closed: frozenset[SlotKey]
    concurrent: int

    @classmethod
    def sort(cls, context: ServiceContext, slots: Iterable[Slot], earlier: Iterable[Task]) -> JobSlots:
        ending = [task for task in earlier if context.may_be_running(task)]
        is_global, concurrent = context.service.spec.mode.is_global, len(ending)
        closed: set[SlotKey] = {task.node_id for task in ending} if is_global else set()
        for slot in slots:
            busy = _is_busy(context, slot)
            concurrent += busy
            if busy or is_complete(slot) or is_finished(context, slot):
                closed.add(slot.key)
        return cls(frozenset(closed), concurrent)


def is_complete(slot: Slot) -> bool:
    """Whether one of the slot's tasks has completed."""
    return any(task.status.state is TaskState.COMPLETE for task in slot.tasks)


def _is_busy(context: ServiceContext, slot: Slot) -> bool:
    waits_or_runs = any(task.status.state is not TaskState.COMPLETE for task in slot.active)
    return waits_or_runs or any(context.may_be_running(task) for task in slot.tasks)
