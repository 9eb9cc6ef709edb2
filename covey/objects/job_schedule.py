"""Schedules of jobs: when a job runs again by itself, and what became of its runs."""

from covey.objects.base import Struct
from covey.states import MissedRuns, RunConcurrency

DEFAULT_RUN_HISTORY = 3


class JobSchedule(Struct, frozen=True, kw_only=True):
    """What the labels `covey.schedule…` say.

    Attributes:
        expression: five cron fields, or six of which the first is the second.
        timezone: name of a zone of the IANA database, in whose wall clock the expression is read.
        history: how many ended runs before the present one keep their tasks.
        deadline_ns: how late a run may begin; 0 means that it is never too late.
    """

    expression: str = ""
    timezone: str = "UTC"
    concurrency: RunConcurrency = RunConcurrency.FORBID
    history: int = DEFAULT_RUN_HISTORY
    missed: MissedRuns = MissedRuns.SKIP
    deadline_ns: int = 0


class JobStatus(Struct, frozen=True, kw_only=True):
    """A run of a job. ``iteration`` counts from 0; each run again adds 1. ``last_execution_ns`` is its beginning, 0 in a job with a
    schedule that has not run yet.
    """

    iteration: int = 0
    last_execution_ns: int = 0


class ScheduleStatus(Struct, frozen=True, kw_only=True):
    """What a job with a schedule has done and does next.

    Attributes:
        next_run_ns: the scheduled time that is decided on next; 0 if there is none within 50 years.
        decided_ns: when ``next_run_ns`` was determined, by the leader's clock.
        scheduled_ns: the scheduled time of the present run; 0 if it was begun by hand.
        finished_ns: when the present run was over; 0 while it goes on.
        outcome: what became of the present run, a few words.
        earlier: runs that still go on beside the present one, where runs may overlap.
        skipped_ns: the last scheduled time at which no run began, with the reason.
    """

    next_run_ns: int = 0
    decided_ns: int = 0
    scheduled_ns: int = 0
    finished_ns: int = 0
    outcome: str = ""
    earlier: tuple[JobStatus, ...] = ()
    skipped_ns: int = 0
    skipped_reason: str = ""
