"""Labels of schedules when a service is stored: what they mean, what is refused, and what an update does."""

from __future__ import annotations

import pytest

from covey.clock import MINUTE, SECOND
from covey.errors import CoveyError
from covey.objects import Annotations, ContainerSpec, Service, ServiceSpec, TaskSpec, replace
from covey.states import MissedRuns, RunConcurrency, ServiceMode
from manager.control.services import create_service, roll_back_service, update_service
from manager.store.view import View
from tests.support.planning import Ids, execute

NOW = 1_800_000_000 * SECOND  # 08:00:00 UTC


def spec(
    mode: ServiceMode = ServiceMode.REPLICATED_JOB, image: str = "one", force: int = 0, **labels: str
) -> ServiceSpec:
    names = {f"covey.{key.replace('__', '.')}": value for key, value in labels.items()}
    return ServiceSpec(
        annotations=Annotations(name="job", labels=names),
        task=TaskSpec(container=ContainerSpec(image=image), force_update=force),
        mode=mode,
        max_concurrent=1,
        total_completions=1,
    )


def stored(view: View) -> Service:
    found = view.services.by_name("job")
    assert found is not None
    return found


def created(given: ServiceSpec) -> View:
    return execute(View.empty(), [lambda tx: create_service(tx, given, Ids(), NOW)], NOW)


def updated(view: View, given: ServiceSpec, now_ns: int = NOW) -> View:
    version = stored(view).meta.version
    return execute(view, [lambda tx: update_service(tx, "job", version, given, now_ns)], now_ns)


def test_a_job_with_a_schedule_waits_for_its_first_time() -> None:
    job = stored(created(spec(schedule="*/5 * * * *", schedule__timezone="Europe/Berlin", schedule__history="7")))
    assert job.spec.schedule is not None
    assert (job.spec.schedule.concurrency, job.spec.schedule.history) == (RunConcurrency.FORBID, 7)
    assert job.job_status is not None
    assert job.job_status.last_execution_ns == 0
    assert job.schedule_status is not None
    assert job.schedule_status.next_run_ns == NOW + 5 * MINUTE


def test_missed_runs_have_a_limit_of_a_minute_or_the_given_one() -> None:
    skipped = stored(created(spec(schedule="@daily"))).spec.schedule
    made_up = stored(
        created(spec(schedule="@daily", schedule__missed="run-once", schedule__deadline="2h"))
    ).spec.schedule
    assert skipped is not None
    assert made_up is not None
    assert (skipped.missed, skipped.deadline_ns) == (MissedRuns.SKIP, MINUTE)
    assert (made_up.missed, made_up.deadline_ns) == (MissedRuns.RUN_ONCE, 120 * MINUTE)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (spec(schedule="0 0 31 2 *"), "label covey.schedule: .*day-of-month"),
        (spec(mode=ServiceMode.REPLICATED, schedule="@daily"), "label covey.schedule: a replicated service"),
        (spec(mode=ServiceMode.GLOBAL, schedule="@daily"), "label covey.schedule: a global service"),
        (spec(schedule__timezone="UTC"), "label covey.schedule.timezone: .*no label covey.schedule"),
        (spec(schedule="@daily", schedule__timezone="Mars/Base"), "label covey.schedule.timezone: "),
        (spec(schedule="@daily", schedule__concurrency="maybe"), "label covey.schedule.concurrency: .*forbid"),
        (spec(schedule="@daily", schedule__history="-1"), "label covey.schedule.history: "),
        (spec(schedule="@daily", schedule__missed="later"), "label covey.schedule.missed: .*run-once"),
        (spec(schedule="@daily", schedule__deadline="5m"), "label covey.schedule.deadline: .*covey.schedule.missed"),
        (spec(schedule="@daily", schedule__missed="run-once", schedule__deadline="0"), "label covey.schedule.deadline: "),
        (spec(schedul="@daily"), "label covey.schedul is not known: did you mean covey.schedule"),
    ],
)  # fmt: skip
def test_contradictions_are_refused_with_the_name_of_the_label(given: ServiceSpec, words: str) -> None:
    with pytest.raises(CoveyError, match=words):
        created(given)


def test_an_update_of_the_work_waits_for_the_next_run_and_force_begins_one() -> None:
    view = updated(created(spec(schedule="@daily")), spec(schedule="@daily", image="two"))
    assert stored(view).job_status.last_execution_ns == 0
    view = updated(view, spec(schedule="@daily", image="two", force=1), NOW + SECOND)
    assert (stored(view).job_status.iteration, stored(view).job_status.last_execution_ns) == (0, NOW + SECOND)


def test_another_line_counts_from_now_and_another_policy_keeps_the_next_time() -> None:
    view = created(spec(schedule="0 12 * * *"))
    before = stored(view).schedule_status
    kept = updated(view, spec(schedule="0 12 * * *", schedule__concurrency="allow"), NOW + MINUTE)
    assert stored(kept).schedule_status == before
    moved = updated(view, spec(schedule="0 13 * * *"), NOW + MINUTE)
    assert stored(moved).schedule_status.next_run_ns == before.next_run_ns + 60 * MINUTE


def test_a_rollback_gives_back_the_line_and_begins_no_run() -> None:
    view = updated(created(spec(schedule="0 12 * * *")), spec(schedule="0 13 * * *"))
    version = stored(view).meta.version
    view = execute(view, [lambda tx: roll_back_service(tx, "job", version, NOW + SECOND)], NOW)
    job = stored(view)
    assert job.spec.schedule == replace(job.spec.schedule, expression="0 12 * * *")
    assert (job.job_status.last_execution_ns, job.schedule_status.next_run_ns) == (0, NOW + 4 * 60 * MINUTE)


def test_a_job_that_gets_a_schedule_finishes_its_run_and_one_that_loses_it_begins_none() -> None:
    view = updated(created(spec()), spec(schedule="@daily"))
    assert stored(view).job_status.last_execution_ns == NOW
    assert stored(view).schedule_status.finished_ns == 0
    idle = updated(created(spec(schedule="@daily")), spec())
    assert (stored(idle).schedule_status, stored(idle).job_status.last_execution_ns) == (None, 0)
