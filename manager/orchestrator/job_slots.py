"""The slots of a job's present run, sorted by what they still need. Pure; called by the planners of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from covey.objects import Task
from manager.orchestrator.slot_reconciler import is_finished
from manager.orchestrator.slots import ServiceContext, Slot, SlotKey


class JobSlots(msgspec.Struct, frozen=True):
    """What the slots of a run need.

    Attributes:
        unfinished: the tasks that have not completed, by slot.
        closed: slots that get no new task. They have completed, failed for good or have a task, or, in a global job, a task of an
            earlier run may still run there.
        concurrent: slots with a task that runs, will run or may still run, and tasks of earlier runs that may.
    """

    unfinished: Mapping[SlotKey, Slot]
    closed: AbstractSet[SlotKey]
    concurrent: int

    @classmethod
    def sort(
        cls,
        context: ServiceContext,
        unfinished: Mapping[SlotKey, Slot],
        complete: AbstractSet[SlotKey],
        earlier: Iterable[Task],
    ) -> JobSlots:
        """``complete`` are the slots that have completed; ``earlier`` are tasks of earlier runs that have not ended."""
        ending = [task for task in earlier if context.may_be_running(task)]
        closed, concurrent = set(complete), len(ending)
        if context.service.spec.mode.is_global:
            closed |= {task.node_id for task in ending}
        for slot in unfinished.values():
            busy = _is_busy(context, slot)
            concurrent += busy
            if busy or is_finished(context, slot):
                closed.add(slot.key)
        return cls(unfinished, closed, concurrent)

    def slot(self, key: SlotKey) -> Slot:
        return self.unfinished.get(key) or Slot(key)


def _is_busy(context: ServiceContext, slot: Slot) -> bool:
    return bool(slot.active) or any(context.may_be_running(task) for task in slot.tasks)
