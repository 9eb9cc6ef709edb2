"""The schedule of a job through changes of its spec: when it runs next, and whether a change begins a run by hand.

Invariant: a change of the spec never makes a scheduled time come twice. Pure; called by the control API.
"""

from covey.objects import JobStatus, ScheduleStatus, Service, replace
from covey.schedule.cron_expression import next_time
from manager.job_runs import runs_again, with_next_run


def created(service: Service, now_ns: int) -> Service:
    """A new service. A job begins its first run now; one with a schedule waits for its first time."""
    if service.spec.schedule is None:
        return with_next_run(service, now_ns)
    return replace(service, job_status=JobStatus(), schedule_status=_first_status(service, now_ns))


def updated(before: Service, after: Service, now_ns: int) -> Service:
    """A service with its new spec. A job runs again if its work has changed; one with a schedule only if that is forced, because the
    change applies to its next run.
    """
    old, new = before.spec, after.spec
    if new.schedule is None:
        after = replace(after, schedule_status=None)
        return with_next_run(after, now_ns) if runs_again(old, new) else after
    after = _with_times(before, after, now_ns)
    return with_next_run(after, now_ns) if new.task.force_update != old.task.force_update else after


def rolled_back(before: Service, after: Service, now_ns: int) -> Service:
    """A service with its previous spec. A job runs again; one with a schedule at its next time."""
    if after.spec.schedule is None:
        return with_next_run(replace(after, schedule_status=None), now_ns)
    return _with_times(before, after, now_ns)


def _with_times(before: Service, after: Service, now_ns: int) -> Service:
    old, new, status = before.spec.schedule, after.spec.schedule, after.schedule_status
    if status is None:
        return replace(after, schedule_status=_first_status(after, now_ns))
    if old is None or new is None or (old.expression, old.timezone) == (new.expression, new.timezone):
        return after
    next_ns = next_time(new.expression, new.timezone, now_ns)
    return replace(after, schedule_status=replace(status, next_run_ns=next_ns, decided_ns=now_ns))


def _first_status(service: Service, now_ns: int) -> ScheduleStatus | None:
    schedule = service.spec.schedule
    if schedule is None:
        return None
    return ScheduleStatus(next_run_ns=next_time(schedule.expression, schedule.timezone, now_ns), decided_ns=now_ns)
