"""Scheduled times of jobs: in time, late, missed, overlapping, and with clocks that jump."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from covey.clock import HOUR, MINUTE, SECOND
from covey.objects import JobSchedule, ScheduleStatus
from covey.states import MissedRuns, RunConcurrency
from manager.orchestrator.firing import MAX_CONCURRENT_RUNS, decide_firing


def at(text: str) -> int:
    return int(datetime.fromisoformat(f"2026-05-01T{text}").replace(tzinfo=UTC).timestamp()) * SECOND


EVERY_FIVE = JobSchedule(expression="*/5 * * * *", deadline_ns=MINUTE)
AT_TEN = ScheduleStatus(next_run_ns=at("10:00"), decided_ns=at("09:55"))


def changed(**changes: object) -> JobSchedule:
    return JobSchedule(**{"expression": "*/5 * * * *", "deadline_ns": MINUTE} | changes)


def test_nothing_is_decided_before_the_time() -> None:
    assert decide_firing(EVERY_FIVE, AT_TEN, at("09:59:59"), 0) is None


def test_a_run_begins_at_its_time_and_the_next_time_is_stored_with_it() -> None:
    firing = decide_firing(EVERY_FIVE, AT_TEN, at("10:00:20"), 0)
    assert firing is not None
    assert firing.begins
    assert (firing.status.scheduled_ns, firing.status.next_run_ns) == (at("10:00"), at("10:05"))
    assert decide_firing(EVERY_FIVE, firing.status, at("10:00:21"), 0) is None


def test_a_run_whose_time_passed_without_a_leader_is_skipped_with_how_late_it_was() -> None:
    firing = decide_firing(EVERY_FIVE, AT_TEN, at("10:03:30"), 0)
    assert firing is not None
    assert not firing.begins
    assert firing.status.skipped_ns == at("10:00")
    assert firing.status.skipped_reason == "missed: 3m30s late, over the limit of 1m0s"
    assert firing.status.next_run_ns == at("10:05")


def test_of_many_missed_times_run_once_begins_the_last_alone() -> None:
    schedule = changed(missed=MissedRuns.RUN_ONCE, deadline_ns=0)
    firing = decide_firing(schedule, AT_TEN, at("13:33"), 0)
    assert firing is not None
    assert firing.begins
    assert (firing.status.scheduled_ns, firing.status.next_run_ns) == (at("13:30"), at("13:35"))
    assert (firing.status.skipped_ns, firing.status.skipped_reason) == (
        at("10:00"),
        "missed; a later run stands for it",
    )


@pytest.mark.parametrize(("deadline", "begins"), [(2 * HOUR, True), (HOUR, False)])
def test_run_once_makes_up_for_a_run_within_its_deadline(deadline: int, begins: bool) -> None:
    schedule = changed(expression="0 10 * * *", missed=MissedRuns.RUN_ONCE, deadline_ns=deadline)
    firing = decide_firing(schedule, AT_TEN, at("11:30"), 0)
    assert firing is not None
    assert firing.begins is begins


@pytest.mark.parametrize(
    ("concurrency", "running", "begins"),
    [
        (RunConcurrency.FORBID, 1, False),
        (RunConcurrency.REPLACE, 1, True),
        (RunConcurrency.ALLOW, 1, True),
        (RunConcurrency.ALLOW, MAX_CONCURRENT_RUNS, False),
    ],
)
def test_what_happens_while_the_run_before_goes_on_is_the_policy(
    concurrency: RunConcurrency, running: int, begins: bool
) -> None:
    firing = decide_firing(changed(concurrency=concurrency), AT_TEN, at("10:00"), running)
    assert firing is not None
    assert firing.begins is begins
    assert ("went on" in firing.status.skipped_reason) is not begins


def test_a_clock_that_is_set_back_a_little_repeats_no_time() -> None:
    fired = decide_firing(EVERY_FIVE, AT_TEN, at("10:00"), 0)
    assert fired is not None
    assert all(decide_firing(EVERY_FIVE, fired.status, at(text), 0) is None for text in ("08:00", "10:00", "10:04:59"))
    assert decide_firing(EVERY_FIVE, fired.status, at("10:05"), 0) is not None


def test_after_a_clock_that_was_far_ahead_times_count_anew() -> None:
    firing = decide_firing(EVERY_FIVE, AT_TEN, at("05:01"), 0)
    assert firing is not None
    assert not firing.begins
    assert firing.status.next_run_ns == at("05:05")


def test_a_clock_that_is_set_forward_skips_what_it_passed() -> None:
    firing = decide_firing(EVERY_FIVE, AT_TEN, at("23:02"), 0)
    assert firing is not None
    assert not firing.begins
    assert (firing.status.skipped_ns, firing.status.next_run_ns) == (at("23:00"), at("23:05"))
