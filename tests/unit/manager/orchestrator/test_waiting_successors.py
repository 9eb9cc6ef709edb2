"""Successors that wait in READY and fail before their backoff is over."""

from covey.clock import SECOND
from covey.objects import RestartPolicy, replace
from covey.states import TaskState
from tests.support.planning import (
    NOW,
    Ids,
    after_planning,
    changed,
    decide,
    desired_tasks,
    in_state,
    service,
    task,
    view_of,
)


def test_a_rejected_successor_is_not_replaced_before_the_pause_is_over() -> None:
    """1. An image is missing: the task is rejected while it is prepared. 2. Its successor waits for the pause, but is prepared at once.
    3. It is rejected too: were it replaced now, tasks would follow each other as fast as hosts can refuse them.
    """
    web = service(restart=RestartPolicy(delay_ns=5 * SECOND))
    view = after_planning(view_of(web, in_state(task(web, 1), TaskState.REJECTED)))
    (successor,) = desired_tasks(view)
    view = changed(view, in_state(successor, TaskState.REJECTED))
    plan = decide(view, now_ns=NOW + SECOND)
    assert not plan.steps
    assert plan.wake_at_ns == NOW + 5 * SECOND
    (third,) = desired_tasks(after_planning(view, now_ns=NOW + 5 * SECOND, ids=Ids("third")))
    assert third.id != successor.id
    assert third.start_after_ns == NOW + 10 * SECOND


def test_a_changed_service_replaces_it_at_once() -> None:
    web = service(restart=RestartPolicy(delay_ns=5 * SECOND))
    view = after_planning(view_of(web, in_state(task(web, 1), TaskState.REJECTED)))
    (successor,) = desired_tasks(view)
    spec = service(image="two", restart=RestartPolicy(delay_ns=5 * SECOND)).spec
    mended = replace(view.services.get("web"), spec=spec)
    view = changed(view, in_state(successor, TaskState.REJECTED), mended)
    (third,) = desired_tasks(after_planning(view, now_ns=NOW + SECOND, ids=Ids("third")))
    assert third.spec.container.image == "two"
