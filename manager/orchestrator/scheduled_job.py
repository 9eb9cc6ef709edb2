"""Jobs with a schedule: the plans of the runs that go on, and the beginning of the next run at its time.

Invariant: the transaction that begins a run also stores that its time was decided on, and fails if the service changed meanwhile. So
whatever leaders or store there are, a scheduled time begins at most one run. A run that is over gets no more tasks.

Pure; called by the service planner.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from covey.objects import JobStatus, ScheduleStatus, Service, Task, replace
from covey.states import RunConcurrency
from covey.task_predicates import should_run
from manager.job_runs import has_run
from manager.loop import Plan, Step, combine
from manager.orchestrator.firing import CLOCK_JUMP_NS, decide_firing
from manager.orchestrator.jobs import RunPlan, plan_run
from manager.orchestrator.slots import ServiceContext, slot_key, with_shutdown

REPLACED = "a later run of the job replaces this one"

__all__ = ["CLOCK_JUMP_NS", "REPLACED", "plan_scheduled_job"]


class _Runs(msgspec.Struct, frozen=True):
    """The plans of the runs that go on, and the schedule's status with what became of them."""

    plan: Plan
    status: ScheduleStatus
    running: int


def plan_scheduled_job(context: ServiceContext, tasks: Iterable[Task]) -> Plan:
    """The next steps of all runs that go on; then the service, if a run is over or its next time has come."""
    service = context.service
    schedule, before = service.spec.schedule, service.schedule_status
    if schedule is None or before is None:
        return Plan()
    runs = _plan_runs(context, tasks, before)
    after = replace(service, schedule_status=runs.status)
    firing = decide_firing(schedule, runs.status, context.now_ns, runs.running)
    if firing is not None:
        after = replace(service, schedule_status=firing.status)
        if firing.begins:
            after = _with_run(after, context.now_ns, going=not runs.status.finished_ns)
    if after != service:  # its own step comes last, because the others require the service as it was
        return combine([runs.plan, Plan((Step(updates=(after,)),))])
    return combine([runs.plan, Plan((), before.next_run_ns)])


def _with_run(service: Service, now_ns: int, *, going: bool) -> Service:
    """The service with a new run. ``going``: the present run goes on, and may do so beside the new one or is replaced."""
    present, status, schedule = service.job_status, service.schedule_status, service.spec.schedule
    if present is None or status is None or schedule is None or not has_run(present):
        return replace(service, job_status=JobStatus(iteration=0, last_execution_ns=now_ns))
    if schedule.concurrency is not RunConcurrency.ALLOW:
        status = replace(status, earlier=())
    elif going:
        status = replace(status, earlier=(*status.earlier, present))
    run = JobStatus(iteration=present.iteration + 1, last_execution_ns=now_ns)
    return replace(service, job_status=run, schedule_status=status)


def _plan_runs(context: ServiceContext, tasks: Iterable[Task], status: ScheduleStatus) -> _Runs:
    present = context.service.job_status or JobStatus()
    by_run: dict[int | None, list[Task]] = {run.iteration: [] for run in (*status.earlier, present)}
    ending: list[Task] = []
    for task in tasks:
        if task.job_iteration in by_run:
            by_run[task.job_iteration].append(task)
        elif not task.status.state.terminal:
            ending.append(task)
    plans = [Plan(tuple([Step(updates=(with_shutdown(task, REPLACED),)) for task in ending if should_run(task)]))]
    earlier: list[JobStatus] = []
    for run in status.earlier:
        planned = plan_run(_context_of(context, run), by_run[run.iteration], ())
        plans.append(planned.plan)
        if not planned.is_over:
            earlier.append(run)
    status = replace(status, earlier=tuple(earlier))
    if not status.finished_ns:
        planned = plan_run(context, by_run[present.iteration], ending)
        plans.append(planned.plan)
        if planned.is_over:
            total = len({slot_key(context.service, task) for task in by_run[present.iteration]})
            status = replace(status, finished_ns=context.now_ns, outcome=_outcome(planned, total))
    going = has_run(present) and not status.finished_ns
    return _Runs(combine(plans), status, len(earlier) + going)


def _context_of(context: ServiceContext, run: JobStatus) -> ServiceContext:
    """The context as it is for an earlier run."""
    return replace(context, service=replace(context.service, job_status=run))


def _outcome(run: RunPlan, total: int) -> str:
    return f"{run.failed} of {total} tasks failed" if run.failed else "complete"
