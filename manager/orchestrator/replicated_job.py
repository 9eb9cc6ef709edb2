"""Replicated jobs: ``total_completions`` slots, numbered from 0, of which at most ``max_concurrent`` run at a time.

Invariant: the slots are filled in order, each until it has completed or failed for good. Pure; called by ``jobs``.
"""

from __future__ import annotations

from itertools import islice

from manager.loop import Step
from manager.orchestrator.job_slots import JobSlots
from manager.orchestrator.slot_reconciler import new_task_for_slot
from manager.orchestrator.slots import ServiceContext

MAX_NEW_TASKS = 512
"""New tasks of a job per pass. Their commits make the job dirty again, so that the next pass creates the rest."""


def new_tasks(context: ServiceContext, state: JobSlots) -> tuple[Step, ...]:
    """Tasks for the lowest open slots, as many as may run besides those that do."""
    spec = context.service.spec
    count = min(spec.max_concurrent - state.concurrent, MAX_NEW_TASKS)
    if count <= 0:
        return ()
    numbers = (number for number in range(spec.total_completions) if number not in state.closed)
    created = [new_task_for_slot(context, state.slot(number)) for number in islice(numbers, count)]
    return tuple([Step(creates=(task,), preconditions=(context.service,)) for task in created])
