"""Jobs: how many tasks run at a time, which slots are done, failures, runs again, lost nodes and the history that stays."""

from __future__ import annotations

import pytest

from covey.clock import SECOND
from covey.objects import Cluster, ClusterSpec, JobStatus, RestartPolicy, Service, Task, replace
from covey.service_dependencies import parse_dependencies
from covey.states import NodeAvailability, NodeState, RestartCondition, ServiceMode, TaskState
from manager.control.services import task_counts
from manager.job_runs import runs_again, with_next_run
from manager.orchestrator.reaper import plan_slot
from manager.orchestrator.replicated_job import MAX_NEW_TASKS
from manager.store.view import View
from tests.support.planning import NOW, Ids, after_planning, applied, changed, in_state, node, service, task, view_of

LATER = NOW + 60 * SECOND


def job(total: int = 3, concurrent: int = 2, **settings) -> Service:
    made = service(
        "job", mode=ServiceMode.REPLICATED_JOB, max_concurrent=concurrent, total_completions=total, **settings
    )
    return replace(made, job_status=JobStatus(last_execution_ns=NOW))


def global_job(**settings) -> Service:
    made = service("job", mode=ServiceMode.GLOBAL_JOB, **settings)
    return replace(made, job_status=JobStatus(last_execution_ns=NOW))


def job_task(of: Service, slot: int, state: TaskState = TaskState.RUNNING, **changes) -> Task:
    assert of.job_status is not None
    fields = {"desired": TaskState.COMPLETE, "job_iteration": of.job_status.iteration} | changes
    return task(of, slot, state=state, **fields)


def active(view: View) -> list[Task]:
    """The tasks that are to run and have not ended."""
    tasks = view.tasks.by_service("job")
    return [item for item in tasks if item.desired_state <= TaskState.COMPLETE and not item.status.state.terminal]


def slots(view: View) -> list[int]:
    return sorted(item.slot for item in active(view))


def planned(view: View, now_ns: int = NOW, prefix: str = "new") -> View:
    """The view after planning until nothing is left to do now."""
    ids = Ids(prefix)
    for _ in range(6):
        view = after_planning(view, "job", now_ns, ids)
    return view


def next_run(view: View, now_ns: int = LATER) -> View:
    return changed(view, with_next_run(view.services.get("job"), now_ns))


def test_the_first_tasks_are_numbered_from_zero_and_run_until_they_complete() -> None:
    view = planned(view_of(node("n1"), job()))
    assert slots(view) == [0, 1]
    assert {(item.desired_state, item.job_iteration) for item in active(view)} == {(TaskState.COMPLETE, 0)}


def test_a_completed_task_makes_room_for_the_next_slot_and_is_never_started_again() -> None:
    work = job(restart=RestartPolicy(condition=RestartCondition.ANY, delay_ns=0))
    view = planned(view_of(node("n1"), work, job_task(work, 0, TaskState.COMPLETE), job_task(work, 1)))
    assert slots(view) == [1, 2]
    view = changed(view, *[in_state(item, TaskState.COMPLETE) for item in active(view)])
    view = planned(view, prefix="more")
    assert slots(view) == []
    assert task_counts(view, work).completed == 3


def test_a_failed_task_is_started_again_in_its_slot_after_its_delay() -> None:
    work = job(total=1, concurrent=1, restart=RestartPolicy(condition=RestartCondition.ON_FAILURE, delay_ns=5 * SECOND))
    view = planned(view_of(node("n1"), work, job_task(work, 0, TaskState.FAILED)))
    (waiting,) = active(view)
    assert (waiting.slot, waiting.desired_state) == (0, TaskState.READY)
    (again,) = active(planned(view, NOW + 6 * SECOND))
    assert (again.id, again.desired_state, again.restarts) == (waiting.id, TaskState.COMPLETE, 1)


@pytest.mark.parametrize(
    "policy",
    [
        RestartPolicy(condition=RestartCondition.NONE),
        RestartPolicy(condition=RestartCondition.ON_FAILURE, max_attempts=2, delay_ns=0),
    ],
)
def test_a_slot_without_further_attempts_stays_failed_and_the_others_go_on(policy: RestartPolicy) -> None:
    work = job(total=3, concurrent=1, restart=policy)
    view = planned(view_of(node("n1"), work, job_task(work, 0, TaskState.FAILED, restarts=2)))
    assert slots(view) == [1]
    assert [item.id for item in view.tasks.by_slot("job", 0)] == ["job-0"]


def test_the_next_run_ends_the_tasks_of_the_last_and_waits_for_their_places() -> None:
    work = job(total=2, concurrent=2)
    done, running = job_task(work, 0, TaskState.COMPLETE), job_task(work, 1)
    view = planned(next_run(view_of(node("n1"), work, done, running)), LATER)
    assert view.tasks.get("job-1").desired_state is TaskState.REMOVE
    assert view.tasks.get("job-0").desired_state is TaskState.COMPLETE
    assert slots(view) == [0], "the old task still runs: only one place is free"
    assert task_counts(view, view.services.get("job")).completed == 0
    view = changed(view, in_state(view.tasks.get("job-1"), TaskState.SHUTDOWN))
    view = planned(view, LATER, prefix="more")
    assert slots(view) == [0, 1]
    assert {item.job_iteration for item in active(view)} == {1}


def test_a_task_on_a_lost_node_runs_elsewhere_and_its_late_success_ends_the_successor() -> None:
    work = job(total=1, concurrent=1)
    view = view_of(node("n1", state=NodeState.DOWN), node("n2"), work, job_task(work, 0))
    view = planned(view)
    (successor,) = active(view)
    assert (successor.slot, successor.desired_state) == (0, TaskState.COMPLETE)
    view = changed(view, in_state(replace(successor, node_id="n2"), TaskState.RUNNING))
    view = planned(changed(view, in_state(view.tasks.get("job-0"), TaskState.COMPLETE)))
    assert active(view) == []
    assert task_counts(view, work).completed == 1


def test_a_failed_successor_of_a_late_success_keeps_no_place() -> None:
    work = job(total=2, concurrent=1)
    late, successor = job_task(work, 0, TaskState.COMPLETE, id="a"), job_task(work, 0, TaskState.FAILED, id="b")
    view = planned(view_of(node("n1"), work, late, successor))
    assert slots(view) == [1]


def test_a_task_on_a_drained_node_ends_before_its_successor_starts() -> None:
    work = job(total=1, concurrent=1)
    drained = node("n1", availability=NodeAvailability.DRAIN)
    view = planned(view_of(drained, node("n2"), work, job_task(work, 0)))
    assert [item.desired_state for item in active(view)] == [TaskState.READY]
    view = planned(changed(view, in_state(view.tasks.get("job-0"), TaskState.SHUTDOWN)))
    assert [item.desired_state for item in active(view)] == [TaskState.COMPLETE]


def test_a_pass_creates_a_bounded_number_of_tasks() -> None:
    view = after_planning(view_of(node("n1"), job(total=2000, concurrent=2000)), "job")
    assert len(active(view)) == MAX_NEW_TASKS
    assert len(active(after_planning(view, "job", ids=Ids("more")))) == 2 * MAX_NEW_TASKS


def test_a_global_job_runs_once_on_each_node_that_was_there_when_it_began() -> None:
    view = planned(view_of(node("n1"), node("n2"), node("n3", availability=NodeAvailability.PAUSE), global_job()))
    assert sorted(item.node_id for item in active(view)) == ["n1", "n2"]
    late = node("n4")
    view = applied_at(view, late, NOW + SECOND)
    view = changed(
        view,
        replace(view.nodes.get("n3"), spec=replace(view.nodes.get("n3").spec, availability=NodeAvailability.ACTIVE)),
    )
    view = planned(view, prefix="more")
    assert sorted(item.node_id for item in active(view)) == ["n1", "n2", "n3"]
    done = changed(view, *[in_state(item, TaskState.COMPLETE) for item in active(view)])
    assert active(planned(done, prefix="end")) == []
    again = planned(next_run(done), LATER, prefix="again")
    assert sorted(item.node_id for item in active(again)) == ["n1", "n2", "n3", "n4"]


def applied_at(view: View, item, now_ns: int) -> View:
    from manager.loop import Plan, Step

    return applied(view, Plan((Step(creates=(item,)),)), now_ns)


def test_a_global_job_waits_on_a_node_until_the_task_of_the_last_run_has_ended() -> None:
    work = global_job()
    old = job_task(work, 0, node_id="n1")
    view = planned(next_run(view_of(node("n1"), node("n2"), work, old)), LATER)
    assert [item.node_id for item in active(view)] == ["n2"]
    view = planned(changed(view, in_state(view.tasks.get("job-0"), TaskState.SHUTDOWN)), LATER, prefix="more")
    assert sorted(item.node_id for item in active(view)) == ["n1", "n2"]


def test_the_reaper_keeps_what_completed_in_this_run_and_a_history_of_the_others() -> None:
    work = replace(job(total=1, concurrent=1), job_status=JobStatus(iteration=5, last_execution_ns=NOW))
    old = [job_task(work, 0, TaskState.COMPLETE, id=f"old{number}", job_iteration=number) for number in range(5)]
    done = job_task(work, 0, TaskState.COMPLETE, id="done")
    needless = job_task(work, 0, TaskState.SHUTDOWN, id="zsuccessor", desired=TaskState.SHUTDOWN)
    cluster = Cluster(id="c", spec=ClusterSpec(task_history=2))
    view = view_of(cluster, node("n1"), work, *old, done, needless)
    view = applied(view, plan_slot(view, "job", 0))
    assert sorted(item.id for item in view.tasks.by_service("job")) == ["done", "zsuccessor"]


def test_a_dependant_starts_when_all_completions_are_reached() -> None:
    work = job(total=2, concurrent=1)
    web = service("web")
    web = replace(web, spec=replace(web.spec, depends_on=parse_dependencies("job:service_completed_successfully")))
    view = view_of(node("n1"), work, web, job_task(work, 0, TaskState.COMPLETE))
    view = after_planning(view)
    assert view.services.get("web").waiting_for == "waiting for job to complete (1 of 2 tasks)"
    view = view_of(node("n1"), work, web, job_task(work, 0, TaskState.COMPLETE), job_task(work, 1, TaskState.COMPLETE))
    assert after_planning(view).services.get("web").waiting_for == ""


def test_a_dependant_of_a_global_job_waits_for_every_node() -> None:
    work, web = global_job(restart=RestartPolicy(condition=RestartCondition.NONE)), service("web")
    web = replace(web, spec=replace(web.spec, depends_on=parse_dependencies("job:service_completed_successfully")))
    done = job_task(work, 0, TaskState.COMPLETE, node_id="n1", id="a")
    failed = job_task(work, 0, TaskState.FAILED, node_id="n2", id="b", desired=TaskState.SHUTDOWN)
    view = after_planning(view_of(node("n1"), node("n2"), work, web, done, failed))
    assert view.services.get("web").waiting_for == "waiting for job to complete (1 of 2 tasks, 1 failed)"


def test_an_update_of_labels_alone_does_not_run_the_job_again() -> None:
    spec = job().spec
    labels = replace(spec.annotations, labels={"a": "b"})
    assert not runs_again(spec, replace(spec, annotations=labels))
    assert runs_again(spec, replace(spec, task=replace(spec.task, force_update=1)))
    assert runs_again(spec, replace(spec, total_completions=9))
    container = replace(spec.task.container, registry_auth="new")
    assert not runs_again(spec, replace(spec, task=replace(spec.task, container=container)))
