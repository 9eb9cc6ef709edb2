"""Jobs: the plan of a service whose tasks run until they complete, made of its slots' next steps and of new tasks.

Invariant: a slot that has completed in the present run never gets another task, and one that failed for good waits for the next run.
Tasks of earlier runs are ended; those that may still run keep their place among the concurrent ones. Pure; called by the service planner.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from covey.objects import Task
from covey.states import TaskState
from manager.job_runs import has_run, is_in_present_run
from manager.loop import EMPTY, Plan, Step, combine
from manager.orchestrator import global_job, replicated_job
from manager.orchestrator.job_slots import JobSlots
from manager.orchestrator.replicated import with_removal
from manager.orchestrator.slot_reconciler import reconcile_slot
from manager.orchestrator.slots import ServiceContext, Slot, SlotKey, group_into_slots, slot_key, with_shutdown


class RunPlan(msgspec.Struct, frozen=True):
    """The next steps of a run. ``is_over``: it has begun, needs no step, and none of its tasks may still run; ``failed`` of its slots have
    then failed for good.
    """

    plan: Plan
    is_over: bool
    failed: int = 0


def plan_job(context: ServiceContext, tasks: Iterable[Task]) -> Plan:
    """Everything that a job needs now: the end of earlier runs, the next step of each slot and new tasks."""
    present: list[Task] = []
    earlier: list[Task] = []
    for task in tasks:
        if is_in_present_run(context.service, task):
            present.append(task)
        elif not task.status.state.terminal:
            earlier.append(task)
    removed = Plan(tuple([Step(updates=(task,)) for task in with_removal(earlier)]))
    return combine([removed, plan_run(context, present, earlier).plan])


def plan_run(context: ServiceContext, tasks: Iterable[Task], earlier: Iterable[Task]) -> RunPlan:
    """The next steps of the present run. ``tasks`` are its own, ``earlier`` are tasks of runs that are ended for it.

    The many tasks that have completed cost one look each.
    """
    service = context.service
    complete: set[SlotKey] = set()
    unfinished: list[Task] = []
    for task in tasks:
        if task.status.state is TaskState.COMPLETE:
            complete.add(slot_key(service, task))
        else:
            unfinished.append(task)
    slots = group_into_slots(service, unfinished)
    reconciled = [
        _end_surplus(slot) if slot.key in complete else reconcile_slot(context, slot) for slot in slots.values()
    ]
    state = JobSlots.sort(context, slots, complete, earlier)
    has_begun = service.job_status is not None and has_run(service.job_status)
    new_tasks = global_job.new_tasks if service.spec.mode.is_global else replicated_job.new_tasks
    plan = combine([*reconciled, Plan(new_tasks(context, state) if has_begun else ())])
    return RunPlan(plan, has_begun and not plan.steps and not state.concurrent, len(slots.keys() - complete))


def _end_surplus(slot: Slot) -> Plan:
    """Ends what is left in a slot that has completed, because a task on a lost node completed after all. A failed task keeps no place."""
    surplus = tuple([with_shutdown(task) for task in slot.active])
    return Plan((Step(updates=surplus),)) if surplus else EMPTY
