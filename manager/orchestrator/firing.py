"""The decision on a scheduled time of a job: whether a run begins now, or why none does.

Invariant: each scheduled time is decided on once. The decision is stored with the next time to decide on, so another leader goes on from
there; a clock that is set back by less than ``CLOCK_JUMP_NS`` makes no time come twice. Pure; called for jobs with a schedule.
"""

import msgspec

from covey.clock import HOUR, SECOND
from covey.objects import JobSchedule, ScheduleStatus, replace
from covey.quantities import go_duration
from covey.schedule.cron_expression import last_time, next_time
from covey.states import RunConcurrency

CLOCK_JUMP_NS = 3 * HOUR
"""A clock that was set back further was wrong before, as for Debian's cron: times count anew from where it stands now."""
MAX_CONCURRENT_RUNS = 10
"""Runs of one job beside each other."""


class Firing(msgspec.Struct, frozen=True):
    """``begins``: a run begins now. ``status`` has the next time, and the reason if no run begins."""

    status: ScheduleStatus
    begins: bool = False


def decide_firing(schedule: JobSchedule, status: ScheduleStatus, now_ns: int, running: int) -> Firing | None:
    """What to do about the scheduled time that has come; None if none has. ``running`` is the number of runs that go on."""
    came_ns = status.next_run_ns
    if status.decided_ns - now_ns > CLOCK_JUMP_NS:
        return Firing(_decided(schedule, status, now_ns))
    if not came_ns or now_ns < came_ns:
        return None
    scheduled_ns = last_time(schedule.expression, schedule.timezone, came_ns, now_ns)
    after = _decided(schedule, status, now_ns)
    reason = _reason_to_skip(schedule, now_ns - scheduled_ns, running)
    if reason:
        return Firing(replace(after, skipped_ns=scheduled_ns, skipped_reason=reason))
    if scheduled_ns != came_ns:
        after = replace(after, skipped_ns=came_ns, skipped_reason="missed; a later run stands for it")
    return Firing(replace(after, scheduled_ns=scheduled_ns, finished_ns=0, outcome=""), begins=True)


def _decided(schedule: JobSchedule, status: ScheduleStatus, now_ns: int) -> ScheduleStatus:
    next_ns = next_time(schedule.expression, schedule.timezone, now_ns)
    return replace(status, next_run_ns=next_ns, decided_ns=now_ns)


def _reason_to_skip(schedule: JobSchedule, late_ns: int, running: int) -> str:
    if schedule.deadline_ns and late_ns > schedule.deadline_ns:
        late = go_duration(late_ns // SECOND * SECOND)
        return f"missed: {late} late, over the limit of {go_duration(schedule.deadline_ns)}"
    if running and schedule.concurrency is RunConcurrency.FORBID:
        return "the run before it still went on"
    if running >= MAX_CONCURRENT_RUNS and schedule.concurrency is RunConcurrency.ALLOW:
        return f"{running} runs still went on, the limit"
    return ""
