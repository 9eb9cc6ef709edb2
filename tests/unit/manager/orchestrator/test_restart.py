"""The restart policy: conditions, delays, attempts and the backoff of crash loops."""

from covey.clock import MILLISECOND, SECOND
from covey.objects import RestartPolicy, replace
from covey.states import RestartCondition, TaskState
from manager.orchestrator import restart
from tests.support.planning import (
    NOW,
    Ids,
    after_planning,
    changed,
    decide,
    desired_tasks,
    in_state,
    node,
    service,
    task,
    view_of,
)

N1 = node("n1")


def dead(state=TaskState.FAILED, *, lived_ns: int = 60 * SECOND, restarts: int = 0, **policy):
    web = service(replicas=1, restart=RestartPolicy(**({"delay_ns": 0} | policy)))
    item = replace(task(web, 1, state=state), restarts=restarts)
    return replace(item, meta=replace(item.meta, created_at_ns=NOW - lived_ns))


def test_a_task_that_failed_is_replaced_after_the_delay() -> None:
    web = service(replicas=1, restart=RestartPolicy(delay_ns=5 * SECOND))
    view = after_planning(view_of(N1, web, task(web, 1, state=TaskState.FAILED)))
    (successor,) = desired_tasks(view)
    assert (successor.desired_state, successor.start_after_ns) == (TaskState.READY, NOW + 5 * SECOND)
    assert successor.restarts == 1
    assert view.tasks.get("web-1").desired_state is TaskState.SHUTDOWN
    early = decide(view, now_ns=NOW + SECOND)
    assert (early.steps, early.wake_at_ns) == ((), NOW + 5 * SECOND)
    view = after_planning(view, now_ns=NOW + 5 * SECOND)
    assert view.tasks.get(successor.id).desired_state is TaskState.RUNNING
    assert not decide(view, now_ns=NOW + 5 * SECOND).steps


def test_conditions_say_which_ends_are_followed_by_a_restart() -> None:
    assert restart.decide_restart(dead(TaskState.COMPLETE))
    assert restart.decide_restart(dead(TaskState.REJECTED, condition=RestartCondition.ON_FAILURE))
    assert not restart.decide_restart(dead(TaskState.COMPLETE, condition=RestartCondition.ON_FAILURE))
    assert not restart.decide_restart(dead(TaskState.FAILED, condition=RestartCondition.NONE))


def test_attempts_are_bounded() -> None:
    assert restart.decide_restart(dead(restarts=2, max_attempts=3)).restarts == 3
    assert not restart.decide_restart(dead(restarts=3, max_attempts=3))


def test_attempts_are_counted_per_window() -> None:
    item = replace(dead(restarts=3, max_attempts=3, window_ns=30 * SECOND), restart_window_started_ns=NOW - 31 * SECOND)
    granted = restart.decide_restart(item)
    assert (granted.restarts, granted.window_began_ns) == (1, NOW)
    assert not restart.decide_restart(replace(item, restart_window_started_ns=NOW - 29 * SECOND))


def test_a_crash_loop_has_a_backoff_even_with_a_delay_of_zero() -> None:
    pauses = [restart.decide_restart(dead(restarts=count, lived_ns=SECOND)).delay_ns for count in range(9)]
    assert pauses[:4] == [0, 100 * MILLISECOND, 200 * MILLISECOND, 400 * MILLISECOND]
    assert pauses[-1] == 5 * SECOND
    assert restart.decide_restart(dead(restarts=7, lived_ns=60 * SECOND)).delay_ns == 0


def test_a_slot_without_attempts_left_is_finished_and_is_not_filled_again() -> None:
    web = service(replicas=1, restart=RestartPolicy(delay_ns=0, max_attempts=2))
    ids = Ids()
    view = after_planning(view_of(N1, web), ids=ids)
    for turn in range(5):
        now = NOW + turn * 10 * SECOND
        for item in desired_tasks(view):
            view = changed(view, in_state(replace(item, node_id="n1"), TaskState.FAILED, now), now_ns=now)
        view = after_planning(after_planning(view, now_ns=now, ids=ids), now_ns=now + 9 * SECOND, ids=ids)
    assert not desired_tasks(view)
    assert len(view.tasks) == 3
    assert not decide(view).steps


def test_restarts_are_counted_from_zero_after_an_update() -> None:
    web = service(replicas=1)
    old = replace(task(service(image="old"), 1, state=TaskState.FAILED), restarts=9)
    (successor,) = desired_tasks(after_planning(view_of(N1, web, old)))
    assert successor.restarts == 0
