"""The plans of a job with a schedule: its first run, a run that is over, runs beside each other and one that is replaced."""

from __future__ import annotations

from covey.clock import SECOND
from covey.objects import JobSchedule, JobStatus, RestartPolicy, ScheduleStatus, Service, Task, replace
from covey.states import RestartCondition, RunConcurrency, ServiceMode, TaskState
from manager.store.view import View
from tests.support.planning import NOW, Ids, after_planning, changed, in_state, node, service, view_of


def job(concurrency: RunConcurrency = RunConcurrency.FORBID, **counts: int) -> Service:
    made = service(
        "job",
        mode=ServiceMode.REPLICATED_JOB,
        restart=RestartPolicy(condition=RestartCondition.NONE),
        schedule=JobSchedule(expression="*/10 * * * * *", concurrency=concurrency),
        **{"total_completions": 1, "max_concurrent": 1} | counts,
    )
    status = ScheduleStatus(next_run_ns=NOW + 10 * SECOND, decided_ns=NOW)
    return replace(made, job_status=JobStatus(), schedule_status=status)


def planned(view: View, seconds: int, prefix: str = "new") -> View:
    ids = Ids(f"{prefix}{seconds}-")
    for _ in range(6):
        view = after_planning(view, "job", NOW + seconds * SECOND, ids)
    return view


def ended(view: View, state: TaskState) -> View:
    for item in view.tasks:
        if not item.status.state.terminal:
            view = changed(view, in_state(replace(item, node_id="n1"), state))
    return view


def going(view: View) -> list[Task]:
    return [item for item in view.tasks if item.desired_state <= TaskState.COMPLETE and not item.status.state.terminal]


def stored(view: View) -> Service:
    found = view.services.get("job")
    assert found is not None
    return found


def test_no_task_is_made_before_the_first_time() -> None:
    assert going(planned(view_of(node("n1"), job()), 9)) == []
    assert len(going(planned(view_of(node("n1"), job()), 10))) == 1


def test_a_run_that_is_over_says_so_and_gets_no_more_tasks() -> None:
    view = planned(ended(planned(view_of(node("n1"), job(total_completions=2)), 10), TaskState.COMPLETE), 11)
    view = planned(ended(view, TaskState.FAILED), 12)
    status = stored(view).schedule_status
    assert (status.outcome, status.finished_ns) == ("1 of 2 tasks failed", NOW + 12 * SECOND)
    grown = replace(stored(view), spec=replace(stored(view).spec, total_completions=5))
    assert going(planned(changed(view, grown), 13)) == []
    assert len(going(planned(changed(view, grown), 20))) == 1


def test_runs_that_may_overlap_each_finish_their_own_slots() -> None:
    view = planned(view_of(node("n1"), job(RunConcurrency.ALLOW, total_completions=2)), 10)
    view = planned(view, 20)
    assert sorted((item.job_iteration, item.slot) for item in going(view)) == [(0, 0), (1, 0)]
    view = planned(ended(view, TaskState.COMPLETE), 21)
    assert sorted((item.job_iteration, item.slot) for item in going(view)) == [(0, 1), (1, 1)]
    view = planned(ended(view, TaskState.COMPLETE), 22)
    assert (stored(view).schedule_status.earlier, stored(view).schedule_status.outcome) == ((), "complete")


def test_a_replaced_run_ends_before_the_next_begins_its_tasks() -> None:
    view = planned(view_of(node("n1"), job(RunConcurrency.REPLACE)), 10)
    (first,) = going(view)
    view = planned(changed(view, in_state(replace(first, node_id="n1"), TaskState.RUNNING)), 20)
    replaced = view.tasks.get(first.id)
    assert replaced is not None
    assert (replaced.desired_state, replaced.end_reason) == (
        TaskState.SHUTDOWN,
        "a later run of the job replaces this one",
    )
    assert going(view) == []
    assert [item.job_iteration for item in going(planned(ended(view, TaskState.SHUTDOWN), 21))] == [1]
