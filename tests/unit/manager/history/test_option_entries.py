"""Entries of services that a schedule or the autoscaler changed: attributes for events and sentences for people."""

from __future__ import annotations

from covey.clock import SECOND
from covey.objects import AutoscaleStatus, JobStatus, ScheduleStatus, replace
from manager.history.object_entries import updated
from tests.support.planning import service

TEN = 1_777_629_600 * SECOND  # 2026-05-01 10:00


def test_a_run_that_begins_and_one_that_is_skipped_are_told() -> None:
    before = replace(service("job"), job_status=JobStatus(), schedule_status=ScheduleStatus())
    run = replace(before, job_status=JobStatus(last_execution_ns=TEN), schedule_status=ScheduleStatus(scheduled_ns=TEN))
    told = updated(before, run)
    assert told is not None
    assert (told.attributes, told.text) == (
        {"schedule.run": "2026-05-01T10:00:00Z"},
        "began the run of 2026-05-01T10:00:00Z",
    )
    after = replace(
        run, schedule_status=ScheduleStatus(scheduled_ns=TEN, skipped_ns=TEN + SECOND, skipped_reason="late")
    )
    told = updated(run, after)
    assert told is not None
    assert told.attributes == {"schedule.skipped": "2026-05-01T10:00:01Z", "schedule.reason": "late"}
    over = replace(after, schedule_status=replace(after.schedule_status, finished_ns=TEN, outcome="complete"))
    assert updated(after, over).text == "the run is over: complete"


def test_the_autoscaler_tells_the_counts_and_its_reason() -> None:
    before = service("web", replicas=2)
    status = AutoscaleStatus(changed_ns=TEN, message="2 to 4 replicas: cpu 90 %")
    told = updated(before, replace(before, spec=replace(before.spec, replicas=4), autoscale_status=status))
    assert told is not None
    wanted = {"replicas.old": "2", "replicas.new": "4", "autoscale.reason": "2 to 4 replicas: cpu 90 %"}
    assert told.attributes == wanted
    failed = replace(before, autoscale_status=AutoscaleStatus(error="no answer"))
    assert updated(before, failed).text == "load unknown: no answer"
