"""Rolling updates, driven as a leader does: plan, let the agents work, let time pass. No plan depends on an earlier one's memory."""

from covey.clock import SECOND
from covey.objects import ContainerSpec, UpdateConfig, UpdateStatus, replace
from covey.states import NodeState, TaskState, UpdateFailureAction, UpdateOrder, UpdateState
from tests.support.planning import (
    NOW,
    Ids,
    after_planning,
    changed,
    decide,
    desired_tasks,
    in_state,
    node,
    run_all_tasks,
    service,
    task,
    view_of,
)

N1 = node("n1")


def updated(replicas: int = 4, image: str = "two", **config):
    """Four running tasks of image one, and a spec that asks for another."""
    web = service(
        replicas=replicas, update=UpdateConfig(**({"monitor_ns": 0} | config)), rollback=UpdateConfig(monitor_ns=0)
    )
    view = view_of(N1, web, *[task(web, number) for number in range(1, replicas + 1)], now_ns=NOW - 100 * SECOND)
    stored = view.services.get("web")
    spec = replace(stored.spec, task=replace(stored.spec.task, container=ContainerSpec(image=image)))
    return changed(view, replace(stored, spec=spec, previous_spec=stored.spec))


def images(view) -> list[str]:
    return sorted(item.spec.container.image for item in desired_tasks(view))


def status(view) -> UpdateStatus:
    return view.services.get("web").update_status


def fail_new(view, now_ns: int = NOW):
    for item in desired_tasks(view):
        if item.spec.container.image == "two" and not item.status.state.terminal:
            failed = in_state(replace(item, node_id="n1"), TaskState.FAILED, now_ns)
            failed = replace(failed, status=replace(failed.status, error="task: non-zero exit (1)"))
            view = changed(view, failed, now_ns=now_ns)
    return view


def test_as_many_slots_change_at_a_time_as_the_parallelism_says() -> None:
    ids = Ids()
    view = after_planning(updated(parallelism=2), ids=ids)
    assert status(view).state is UpdateState.UPDATING
    assert images(view) == ["one", "one", "two", "two"]
    assert not decide(view, ids=ids).steps
    view = after_planning(run_all_tasks(view), ids=ids)  # the old ones have ended: the new ones may start
    view = after_planning(run_all_tasks(view), ids=ids)
    assert images(view) == ["two"] * 4


def test_parallelism_zero_changes_all_at_once() -> None:
    assert images(after_planning(updated(parallelism=0))) == ["two"] * 4


def test_an_update_ends_completed_when_all_run() -> None:
    ids, view = Ids(), updated(parallelism=1)
    for _ in range(12):
        view = run_all_tasks(after_planning(view, ids=ids))
    assert images(view) == ["two"] * 4
    assert (status(view).state, status(view).message) == (UpdateState.COMPLETED, "update completed")
    assert not decide(view, ids=ids).steps


def test_stop_first_lets_the_new_task_wait_for_the_end_of_the_old() -> None:
    view = after_planning(updated(1))
    assert [item.desired_state for item in desired_tasks(view)] == [TaskState.READY]
    assert view.tasks.get("web-1").desired_state is TaskState.SHUTDOWN


def test_start_first_keeps_the_old_task_until_the_new_one_runs() -> None:
    ids = Ids()
    view = after_planning(updated(1, order=UpdateOrder.START_FIRST), ids=ids)
    assert images(view) == ["one", "two"]
    assert not decide(view, ids=ids).steps
    view = after_planning(run_all_tasks(view), ids=ids)
    assert images(view) == ["two"]


def test_the_next_slot_waits_for_the_delay() -> None:
    ids = Ids()
    view = run_all_tasks(after_planning(updated(2, delay_ns=10 * SECOND), ids=ids))
    view = run_all_tasks(after_planning(view, ids=ids))
    early = decide(view, now_ns=NOW + SECOND, ids=ids)
    assert (early.steps, early.wake_at_ns) == ((), NOW + 10 * SECOND)
    assert images(after_planning(view, now_ns=NOW + 10 * SECOND, ids=ids)) == ["two", "two"]


def test_an_update_is_completed_only_after_the_last_task_ran_for_the_monitored_time() -> None:
    ids = Ids()
    view = run_all_tasks(
        after_planning(run_all_tasks(after_planning(updated(1, monitor_ns=5 * SECOND), ids=ids)), ids=ids)
    )
    waiting = decide(view, now_ns=NOW + SECOND, ids=ids)
    assert (waiting.steps, waiting.wake_at_ns) == ((), NOW + 5 * SECOND)
    assert status(after_planning(view, now_ns=NOW + 5 * SECOND, ids=ids)).state is UpdateState.COMPLETED


def test_too_many_failures_pause_the_update() -> None:
    ids = Ids()
    view = after_planning(run_all_tasks(after_planning(updated(3), ids=ids)), ids=ids)
    view = after_planning(fail_new(view), ids=ids)
    assert status(view).state is UpdateState.PAUSED
    cause = "due to failure or early termination of task new0001: task: non-zero exit (1)"
    assert status(view).message == f"update paused {cause}"
    assert images(view).count("one") == 2
    view = after_planning(view, now_ns=NOW + SECOND, ids=ids)
    assert (
        images(after_planning(run_all_tasks(view, at_ns=NOW + SECOND), now_ns=NOW + 2 * SECOND, ids=ids)).count("one")
        == 2
    )


def test_a_failure_within_the_ratio_is_tolerated() -> None:
    ids = Ids()
    view = after_planning(run_all_tasks(after_planning(updated(4, max_failure_ratio=0.25), ids=ids)), ids=ids)
    view = after_planning(fail_new(view), ids=ids)
    assert status(view).state is UpdateState.UPDATING


def test_the_failure_action_continue_goes_on() -> None:
    ids, view = Ids(), updated(3, failure_action=UpdateFailureAction.CONTINUE)
    for turn in range(9):
        now = NOW + turn * SECOND
        view = fail_new(after_planning(view, now_ns=now, ids=ids), now)
    assert "one" not in images(view)


def test_the_failure_action_rollback_restores_the_previous_spec() -> None:
    ids = Ids()
    view = after_planning(
        run_all_tasks(after_planning(updated(3, failure_action=UpdateFailureAction.ROLLBACK), ids=ids)), ids=ids
    )
    view = after_planning(fail_new(view), ids=ids)
    assert status(view).state is UpdateState.ROLLBACK_STARTED
    assert view.services.get("web").spec.task.container.image == "one"
    for turn in range(1, 9):
        now = NOW + turn * SECOND
        view = run_all_tasks(after_planning(view, now_ns=now, ids=ids), at_ns=now)
    assert images(view) == ["one"] * 3
    assert status(view).state is UpdateState.ROLLBACK_COMPLETED
    cause = "due to failure or early termination of task new0001: task: non-zero exit (1)"
    assert status(view).message == f"rollback completed: update rolled back {cause}"


def test_a_rollback_that_fails_too_is_paused() -> None:
    view = updated(2)
    stored = view.services.get("web")
    began = UpdateStatus(state=UpdateState.ROLLBACK_STARTED, started_at_ns=NOW)
    view = changed(view, replace(stored, update_status=began, previous_spec=None))
    ids = Ids()
    view = after_planning(fail_new(after_planning(run_all_tasks(after_planning(view, ids=ids)), ids=ids)), ids=ids)
    assert status(view).state is UpdateState.ROLLBACK_PAUSED


def test_a_new_leader_continues_an_update() -> None:
    """Each turn is decided by a leader that knows the view alone, with ids of its own."""
    view = updated(4, parallelism=2, order=UpdateOrder.START_FIRST)
    for turn in range(10):
        view = run_all_tasks(after_planning(view, ids=Ids(f"leader{turn}-")))
        assert len({item.slot for item in desired_tasks(view)}) == 4
    assert images(view) == ["two"] * 4
    assert status(view).state is UpdateState.COMPLETED


def test_a_node_that_goes_down_during_an_update_is_no_failure_of_the_update() -> None:
    ids = Ids()
    view = run_all_tasks(after_planning(run_all_tasks(after_planning(updated(2), ids=ids)), ids=ids))
    down = replace(view.nodes.get("n1"), status=replace(N1.status, state=NodeState.DOWN))
    view = after_planning(changed(view, down), ids=ids)
    assert status(view).state is UpdateState.UPDATING
    assert len(desired_tasks(view)) == 2


def test_other_credentials_for_the_pull_replace_no_task() -> None:
    view = updated(image="one")
    stored = view.services.get("web")
    container = replace(stored.spec.task.container, registry_auth="new")
    spec = replace(stored.spec, task=replace(stored.spec.task, container=container))
    view = after_planning(changed(view, replace(stored, spec=spec)), ids=Ids())
    assert images(view) == ["one"] * 4
    assert all(not item.spec.container.registry_auth for item in desired_tasks(view))
