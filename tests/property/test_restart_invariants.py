"""Invariants of the restart policy: attempts are bounded, crash loops have a backoff, and a decision is the same at any time."""

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.clock import MILLISECOND, SECOND
from covey.objects import RestartPolicy, replace
from covey.states import RestartCondition, TaskState
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
    view_of,
)

policies = st.builds(
    RestartPolicy,
    condition=st.sampled_from(RestartCondition),
    delay_ns=st.sampled_from([0, SECOND]),
    max_attempts=st.integers(0, 4),
)


@settings(max_examples=150, deadline=None)
@given(policies, st.lists(st.sampled_from([TaskState.FAILED, TaskState.COMPLETE]), max_size=12))
def test_a_crash_loop_is_restarted_as_often_as_allowed_with_a_growing_backoff(policy: RestartPolicy, ends) -> None:
    view, ids, now = view_of(node("n1"), service(replicas=1, restart=policy)), Ids(), NOW
    view = after_planning(view, ids=ids)
    allowed = 0
    for end in ends:
        waiting = desired_tasks(view)
        if not waiting:
            break
        if waiting[0].desired_state is TaskState.READY:
            now = waiting[0].start_after_ns
            view = after_planning(view, now_ns=now, ids=ids)
        (item,) = desired_tasks(view)
        assert item.desired_state is TaskState.RUNNING
        view = changed(view, in_state(replace(item, node_id="n1"), end, now), now_ns=now)
        view = after_planning(view, now_ns=now, ids=ids)
        forbidden = policy.condition is RestartCondition.NONE or (
            policy.condition is RestartCondition.ON_FAILURE and end is TaskState.COMPLETE
        )
        used_up = policy.max_attempts and item.restarts >= policy.max_attempts
        successors = desired_tasks(view)
        assert bool(successors) is not bool(forbidden or used_up)
        if successors:
            allowed += 1
            pause = max(
                policy.delay_ns, min(100 * MILLISECOND << item.restarts - 1, 5 * SECOND) if item.restarts else 0
            )
            assert successors[0].restarts == item.restarts + 1
            assert successors[0].start_after_ns == (now + pause if pause else 0)
    assert not policy.max_attempts or allowed <= policy.max_attempts
    assert not decide(view, now_ns=now, ids=ids).steps
    if not desired_tasks(view):
        assert not decide(view, now_ns=now + 10**16, ids=ids).steps
