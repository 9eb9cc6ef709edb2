"""The labels `covey.schedule…` of a job: when it runs, in which time zone, and what happens to runs that overlap or are missed. Pure."""

from collections.abc import Mapping

from covey.clock import MINUTE
from covey.errors import InvalidArgumentError
from covey.objects.job_schedule import DEFAULT_RUN_HISTORY, JobSchedule
from covey.quantities import parse_duration
from covey.schedule.cron_expression import require_expression, require_timezone
from covey.states import MissedRuns, RunConcurrency

SCHEDULE_LABEL = "covey.schedule"
TIMEZONE_LABEL = "covey.schedule.timezone"
CONCURRENCY_LABEL = "covey.schedule.concurrency"
HISTORY_LABEL = "covey.schedule.history"
MISSED_LABEL = "covey.schedule.missed"
DEADLINE_LABEL = "covey.schedule.deadline"

MAX_HISTORY = 100
LATE_NS = MINUTE
"""How late a run may begin that counts as in time: enough for a change of the leader."""
CONCURRENCIES = {
    "forbid": RunConcurrency.FORBID,
    "allow": RunConcurrency.ALLOW,
    "replace": RunConcurrency.REPLACE,
}
MISSED = {"skip": MissedRuns.SKIP, "run-once": MissedRuns.RUN_ONCE}


def parse_expression(text: str) -> str:
    try:
        require_expression(text)
    except InvalidArgumentError as error:
        raise _invalid(SCHEDULE_LABEL, error.message) from error
    return text.strip()


def parse_timezone(text: str) -> str:
    try:
        require_timezone(text)
    except InvalidArgumentError as error:
        raise _invalid(TIMEZONE_LABEL, error.message) from error
    return text


def parse_concurrency(text: str) -> RunConcurrency:
    if text not in CONCURRENCIES:
        raise _invalid(CONCURRENCY_LABEL, f"{text!r} is not one of {', '.join(CONCURRENCIES)}")
    return CONCURRENCIES[text]


def parse_history(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 3 or int(text) > MAX_HISTORY:
        raise _invalid(HISTORY_LABEL, f"{text!r} is not a number of runs from 0 to {MAX_HISTORY}")
    return int(text)


def parse_missed(text: str) -> MissedRuns:
    if text not in MISSED:
        raise _invalid(MISSED_LABEL, f"{text!r} is not one of {', '.join(MISSED)}")
    return MISSED[text]


def parse_deadline(text: str) -> int:
    """Nanoseconds."""
    try:
        deadline_ns = parse_duration(text)
    except InvalidArgumentError as error:
        raise _invalid(DEADLINE_LABEL, error.message) from error
    if not deadline_ns:
        raise _invalid(DEADLINE_LABEL, "a run cannot begin before its time is over; write a duration such as 5m")
    return deadline_ns


def read_schedule(labels: Mapping[str, str]) -> JobSchedule | None:
    """The schedule that labels name, or None.

    Raises:
        InvalidArgumentError: a label is malformed or has no meaning without another; the message names it.
    """
    expression = labels.get(SCHEDULE_LABEL, "")
    if not expression:
        for label in (TIMEZONE_LABEL, CONCURRENCY_LABEL, HISTORY_LABEL, MISSED_LABEL, DEADLINE_LABEL):
            if labels.get(label):
                raise _invalid(label, f"it says how a schedule works, but there is no label {SCHEDULE_LABEL}")
        return None
    missed, deadline = parse_missed(labels.get(MISSED_LABEL) or "skip"), labels.get(DEADLINE_LABEL)
    deadline_ns = 0
    if missed is MissedRuns.SKIP:
        deadline_ns = LATE_NS
        if deadline:
            raise _invalid(DEADLINE_LABEL, f"missed runs are skipped; it needs the label {MISSED_LABEL} with run-once")
    elif deadline:
        deadline_ns = parse_deadline(deadline)
    return JobSchedule(
        expression=parse_expression(expression),
        timezone=parse_timezone(labels.get(TIMEZONE_LABEL) or "UTC"),
        concurrency=parse_concurrency(labels.get(CONCURRENCY_LABEL) or "forbid"),
        history=parse_history(labels.get(HISTORY_LABEL) or str(DEFAULT_RUN_HISTORY)),
        missed=missed,
        deadline_ns=deadline_ns,
    )


def _invalid(label: str, reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"label {label}: {reason}")
