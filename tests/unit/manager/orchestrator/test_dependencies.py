"""Services that depend on others: what their tasks wait for, restarts after updates, the order of their end."""

from __future__ import annotations

import random

import pytest

from covey.objects import Annotations, Object, RestartPolicy, Service, Task, UpdateStatus, replace
from covey.service_dependencies import DEPENDS_ON_LABEL, format_dependencies, parse_dependencies
from covey.states import NodeState, RestartCondition, TaskState, UpdateState
from manager.orchestrator.service_planner import ServicePlanner, plan_service
from manager.scheduler.planner import SchedulerPlanner
from manager.store.view import View
from tests.support.planning import (
    NOW,
    Ids,
    after_planning,
    applied,
    changed,
    decide,
    desired_tasks,
    in_state,
    node,
    removed,
    run_all_tasks,
    service,
    task,
    view_of,
)

ONCE = RestartPolicy(condition=RestartCondition.NONE)


def depending(name: str, label: str, **settings) -> Service:
    made = service(name, **settings)
    annotations = Annotations(name=name, labels={DEPENDS_ON_LABEL: label})
    return replace(made, spec=replace(made.spec, annotations=annotations, depends_on=parse_dependencies(label)))


def waiting_for(view: View, name: str = "web") -> str:
    (found,) = desired_tasks(view, name)
    assert found.desired_state is TaskState.PENDING
    assert found.status.error == found.status.message == view.services.get(name).waiting_for
    return found.status.error


@pytest.mark.parametrize(
    ("condition", "state", "words"),
    [
        ("service_started", TaskState.PREPARING, "waiting for db to start (0 of 1 tasks)"),
        ("service_started", TaskState.STARTING, ""),
        ("service_started", TaskState.COMPLETE, ""),
        ("service_healthy", TaskState.STARTING, "waiting for db to be healthy (0 of 1 tasks)"),
        ("service_healthy", TaskState.RUNNING, ""),
        ("service_healthy", TaskState.COMPLETE, "waiting for db to be healthy (0 of 1 tasks)"),
        ("service_completed_successfully", TaskState.RUNNING, "waiting for db to complete (0 of 1 tasks)"),
        ("service_completed_successfully", TaskState.FAILED, "waiting for db to complete (0 of 1 tasks, 1 failed)"),
        ("service_completed_successfully", TaskState.COMPLETE, ""),
    ],
)
def test_a_task_waits_for_the_condition_and_says_so(condition: str, state: TaskState, words: str) -> None:
    db = service("db", restart=ONCE)
    view = after_planning(view_of(node("n1"), db, task(db, 1, state=state), depending("web", f"db:{condition}")))
    if words:
        assert waiting_for(view) == words
    else:
        assert desired_tasks(view)[0].desired_state is TaskState.RUNNING


def test_all_tasks_of_a_dependency_count() -> None:
    db = service("db", replicas=3)
    view = view_of(node("n1"), db, task(db, 1), task(db, 2), depending("web", "db:service_healthy"))
    assert waiting_for(after_planning(view)) == "waiting for db to be healthy (2 of 3 tasks)"


def test_a_required_service_that_does_not_exist_is_waited_for_and_an_optional_one_is_not() -> None:
    assert waiting_for(after_planning(view_of(depending("web", "db")))) == "waiting for db to exist"
    (found,) = desired_tasks(after_planning(view_of(depending("web", "db:service_healthy,optional"))))
    assert found.desired_state is TaskState.RUNNING


def test_a_waiting_task_is_not_placed_and_starts_once_the_condition_holds() -> None:
    db, job = service("db"), service("job", restart=ONCE)
    web = depending("web", "db:service_healthy;job:service_completed_successfully")
    starting, done = in_state(task(db, 1), TaskState.STARTING), task(job, 1, state=TaskState.RUNNING)
    view = after_planning(view_of(node("n1"), db, job, web, starting, done))
    view = changed(view, in_state(desired_tasks(view)[0], TaskState.PENDING))
    scheduler = SchedulerPlanner()
    scheduler.reset(view)
    assert not scheduler.plan(view, NOW).steps
    view = after_planning(changed(view, in_state(view.tasks.get("db-1"), TaskState.RUNNING)))
    assert waiting_for(view) == "waiting for job to complete (0 of 1 tasks)"
    view = after_planning(after_planning(changed(view, in_state(view.tasks.get("job-1"), TaskState.COMPLETE))))
    (found,) = desired_tasks(view)
    assert (found.desired_state, found.status.error) == (TaskState.RUNNING, "")
    assert view.services.get("web").waiting_for == ""
    scheduler.reset(view)
    assert scheduler.plan(view, NOW).steps


def test_a_running_task_stays_when_its_dependency_fails() -> None:
    db, web = service("db"), depending("web", "db:service_healthy")
    view = view_of(node("n1"), db, web, in_state(task(db, 1), TaskState.FAILED), task(web, 1))
    assert [item.id for item in desired_tasks(after_planning(view))] == ["web-1"]


def test_an_update_waits_with_the_old_tasks_running() -> None:
    db, web = service("db"), depending("web", "db:service_healthy")
    old = task(web, 1, spec=service("web", image="old").spec.task)
    view = after_planning(view_of(node("n1"), db, web, old))
    assert [item.id for item in desired_tasks(view)] == ["web-1"]
    message = view.services.get("web").update_status.message
    assert message == "update in progress: waiting for db to be healthy (0 of 1 tasks)"
    view = after_planning(view, "db", ids=Ids("db"))
    view = after_planning(run_all_tasks(view, "db"))
    assert [item.id for item in desired_tasks(view)] != ["web-1"]
    assert view.services.get("web").update_status.message == "update in progress"


def settle(view: View, *names: str, rounds: int = 6) -> View:
    """The view after planners and agents have done what there is to do, with one set of ids a round."""
    for number in range(rounds):
        for name in names:
            at_ns = NOW + number * 10**10
            ids = Ids(f"{name}{number}-")
            view = applied(view, decide(view, name, at_ns, ids), at_ns)
            view = run_all_tasks(view, name, at_ns)
    return view


@pytest.mark.parametrize("restart", [True, False])
def test_an_update_of_a_dependency_replaces_the_tasks_if_asked(restart: bool) -> None:
    db = replace(service("db"), spec_version=1)
    web = depending("web", "db:service_healthy" + ",restart" * restart)
    view = settle(view_of(node("n1"), db, web), "db", "web")
    (before,) = desired_tasks(view)
    stored = view.services.get("db")
    spec = service("db", image="two").spec
    view = changed(view, replace(stored, spec=spec, spec_version=stored.meta.version + 1))
    view = settle(after_planning(view, "db", ids=Ids("dbx")), "web", "db", "web", rounds=9)
    (after,) = desired_tasks(view)
    assert (after.id != before.id) is restart
    assert view.services.get("web").spec.task.force_update == restart
    assert view.services.get("db").update_status.state is UpdateState.COMPLETED


@pytest.mark.parametrize(("state", "waits"), [(UpdateState.UPDATING, True), (UpdateState.PAUSED, False)])
def test_old_tasks_of_an_updated_dependency_count_only_while_its_update_is_paused(
    state: UpdateState, *, waits: bool
) -> None:
    db = replace(service("db", image="two"), update_status=UpdateStatus(state=state))
    old = task(db, 1, spec=service("db", image="one").spec.task)
    (found,) = desired_tasks(after_planning(view_of(node("n1"), db, old, depending("web", "db:service_healthy"))))
    assert (found.desired_state is TaskState.PENDING) is waits


@pytest.mark.parametrize(("state", "restarted"), [(UpdateState.UPDATING, 0), (UpdateState.COMPLETED, 1)])
def test_tasks_are_replaced_only_once_the_update_of_the_dependency_is_over(state: UpdateState, restarted: int) -> None:
    db = replace(service("db"), spec_version=7, update_status=UpdateStatus(state=state))
    web = replace(depending("web", "db,restart"), dependency_versions={"db": "db:1"})
    view = after_planning(view_of(node("n1"), db, web, task(db, 1), task(web, 1)))
    assert view.services.get("web").spec.task.force_update == restarted


def test_a_removed_service_ends_after_those_that_depend_on_it() -> None:
    db, web = service("db"), depending("web", "db")
    ending = replace(task(web, 1), desired_state=TaskState.REMOVE)
    planner = ServicePlanner(Ids())
    view = view_of(node("n1"), db, web, task(db, 1), ending)
    planner.reset(view)
    view = removed(view, view.services.get("web"), view.services.get("db"))
    planner.observe(web, None)
    planner.observe(db, None)
    assert not planner.plan(view, NOW).steps
    stopped = in_state(view.tasks.get("web-1"), TaskState.SHUTDOWN)
    view = changed(view, stopped)
    planner.observe(ending, stopped)
    (step,) = planner.plan(view, NOW).steps
    assert step.updates[0].service_id == "db"


def test_a_dependency_is_scaled_down_after_those_that_end() -> None:
    db, web = service("db", replicas=0), depending("web", "db", replicas=0)
    ending = replace(task(web, 1), desired_state=TaskState.REMOVE)
    planner = ServicePlanner(Ids())
    view = view_of(node("n1"), db, web, task(db, 1), ending)
    planner.reset(view)
    assert not [step for step in planner.plan(view, NOW).steps if step.updates[0].id == "db-1"]
    planner.observe(ending, None)
    steps = planner.plan(removed(view, ending), NOW).steps
    assert [step.updates[0].id for step in steps if isinstance(step.updates[0], Task)] == ["db-1"]


def test_a_lost_node_does_not_hold_the_end_of_a_dependency() -> None:
    db, web = service("db"), depending("web", "db")
    ending = replace(task(web, 1, node_id="n2"), desired_state=TaskState.REMOVE)
    planner = ServicePlanner(Ids())
    host = node("n2")
    view = removed(view_of(node("n1"), host, db, web, task(db, 1), ending), db, web)
    planner.reset(view)
    assert not planner.plan(view, NOW).steps
    stored = view.nodes.get("n2")
    lost = replace(stored, status=replace(stored.status, state=NodeState.DOWN))
    view = changed(view, lost)
    planner.observe(stored, lost)
    (step,) = planner.plan(view, NOW).steps
    assert step.updates[0].id == "db-1"


def test_a_dependency_that_waits_with_its_end_still_replaces_failed_tasks() -> None:
    db, web = service("db", replicas=2), depending("web", "db", replicas=0)
    ending = replace(task(web, 1), desired_state=TaskState.REMOVE)
    failed = task(db, 2, state=TaskState.FAILED)
    surplus = task(db, 3, state=TaskState.FAILED)
    view = view_of(node("n1"), db, web, task(db, 1), failed, surplus, ending)
    view = applied(view, plan_service(view, "db", NOW, Ids(), ["web"]))
    assert sorted(item.slot for item in desired_tasks(view, "db")) == [1, 2, 3]
    assert view.tasks.get("db-2").desired_state is TaskState.SHUTDOWN


def test_only_services_that_depend_on_a_changed_one_are_looked_at() -> None:
    planner = ServicePlanner(Ids())
    db = service("db")
    others: list[Object] = [service(f"other{number}") for number in range(50)]
    planner.reset(view_of(db, depending("web", "db"), *others))
    before = in_state(task(db, 1), TaskState.PREPARING)
    assert list(planner.keys_of(before, in_state(before, TaskState.STARTING))) == ["web"]
    assert sorted(planner.keys_of(before, in_state(before, TaskState.RUNNING))) == ["db", "web"]


@pytest.mark.parametrize("seed", range(40))
def test_services_of_any_graph_start_in_order_and_all_start(seed: int) -> None:
    """Services with random dependencies: changes alone drive the planner, tasks start in any order that it allows."""
    chance = random.Random(seed)
    names = [f"s{number}" for number in range(chance.randint(2, 8))]
    made = [
        depending(name, ";".join(f"{other}:service_healthy" for other in names[:position] if chance.random() < 0.5))
        for position, name in enumerate(names)
    ]
    chance.shuffle(made)
    planner, view, started = ServicePlanner(Ids()), View.empty(), []
    planner.reset(view)
    arriving = list(made)
    for _ in range(400):
        before = view
        if arriving and chance.random() < 0.3:
            view = view_of(*view.services, *view.tasks, node("n1"), arriving.pop())
        elif ready := [item for item in view.tasks if item.desired_state is TaskState.RUNNING > item.status.state]:
            chosen = chance.choice(ready)
            needs = [item.service for item in view.services.get(chosen.service_id).spec.depends_on]
            assert all(need in started for need in needs)
            started.append(chosen.service_id)
            view = changed(view, in_state(replace(chosen, node_id="n1"), TaskState.RUNNING))
        else:
            view = applied(view, planner.plan(view, NOW))
        tell(planner, before, view)
    assert sorted(started) == sorted(names)


def tell(planner: ServicePlanner, before: View, after: View) -> None:
    """The differences between two views, as a store reports them."""
    for old, new in ((before.services, after.services), (before.tasks, after.tasks)):
        for item in new:
            known = old.get(item.id)
            if known != item:
                planner.observe(known, item)


def test_labels_are_written_as_they_are_read() -> None:
    text = "db:service_healthy,restart;cache:service_started,optional"
    assert format_dependencies(parse_dependencies(text)) == text
