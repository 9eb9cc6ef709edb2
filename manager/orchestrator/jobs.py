"""Jobs: the plan of a service whose tasks run until they complete, made of its slots' next steps and of new tasks.

Invariant: a slot that has completed in the present run never gets another task, and one that failed for good waits for the next run.
Tasks of earlier runs are ended; those that may still run keep their place among the concurrent ones. Pure; called by the service planner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from covey.objects import Task
from covey.states import TaskState
from covey.task_predicates import should_run
from manager.job_runs import is_in_present_run
from manager.loop import EMPTY, Plan, Step, combine
from manager.orchestrator import global_job, replicated_job
from manager.orchestrator.job_slots import JobSlots, is_complete
from manager.orchestrator.replicated import with_removal
from manager.orchestrator.slot_reconciler import reconcile_slot
from manager.orchestrator.slots import ServiceContext, Slot, SlotKey, group_into_slots, with_shutdown


def plan_job(context: ServiceContext, tasks: Iterable[Task]) -> Plan:
    """Everything that a job needs now: the end of earlier runs, the next step of each slot and new tasks."""
    present: list[Task] = []
    earlier: list[Task] = []
    for task in tasks:
        (present if is_in_present_run(context.service, task) else earlier).append(task)
    slots = group_into_slots(context.service, present)
    ended = with_removal([task for task in earlier if not task.status.state.terminal])
    reconciled = [_reconcile(context, slot) for slot in slots.values()]
    return combine([Plan(tuple([Step(updates=(task,)) for task in ended])), *reconciled, _new(context, slots, earlier)])


def _new(context: ServiceContext, slots: Mapping[SlotKey, Slot], earlier: Iterable[Task]) -> Plan:
    sorted_slots = JobSlots.sort(context, slots.values(), earlier)
    if context.service.spec.mode.is_global:
        return Plan(global_job.new_tasks(context, slots, sorted_slots))
    return Plan(replicated_job.new_tasks(context, slots, sorted_slots))


def _reconcile(context: ServiceContext, slot: Slot) -> Plan:
    if not is_complete(slot):
        return reconcile_slot(context, slot)
    # A task on a node that was lost completed after all: its successor is not needed any more.
    surplus = [task for task in slot.active if task.status.state is not TaskState.COMPLETE and should_run(task)]
    return Plan((Step(updates=tuple([with_shutdown(task) for task in surplus])),)) if surplus else EMPTY
