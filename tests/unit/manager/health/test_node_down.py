"""Heartbeat timeouts, and stalls of the leader that count against no node."""

from covey.clock import MILLISECOND, SECOND
from covey.states import NodeState
from manager.health import CHECK_INTERVAL_NS, HeartbeatTracker, plan_node_states
from tests.support.planning import NOW, applied, node, view_of


def tracker(*, heartbeat_ns: int = NOW, disconnect_ns: int = 0) -> HeartbeatTracker:
    heartbeats = HeartbeatTracker(NOW)
    heartbeats.record_heartbeat("n1", heartbeat_ns)
    if disconnect_ns:
        heartbeats.record_disconnect("n1", disconnect_ns)
    return heartbeats


def check_until(heartbeats: HeartbeatTracker, from_ns: int, to_ns: int) -> None:
    """Checks as often as a leader that is never late."""
    for at_ns in range(from_ns, to_ns + 1, CHECK_INTERVAL_NS):
        heartbeats.record_check(at_ns)


def status_after(view, heartbeats: HeartbeatTracker, now_ns: int):
    view = applied(view, plan_node_states(view, heartbeats, now_ns), now_ns)
    return view.nodes.get("n1").status


def test_a_node_with_heartbeats_stays_ready() -> None:
    plan = plan_node_states(view_of(node("n1")), tracker(), NOW + 2 * SECOND)
    assert (plan.steps, plan.wake_at_ns) == ((), NOW + 3 * SECOND)


def test_a_shorter_period_applies_to_a_node_once_it_was_heard_of_under_it() -> None:
    heartbeats = HeartbeatTracker(NOW)
    heartbeats.record_heartbeat("n1", NOW, 10 * SECOND)
    assert not plan_node_states(view_of(node("n1")), heartbeats, NOW + 9 * SECOND).steps  # the period is 1 s now
    heartbeats.record_heartbeat("n1", NOW + 9 * SECOND, SECOND)
    assert status_after(view_of(node("n1")), heartbeats, NOW + 12 * SECOND).state is NodeState.DOWN


def test_a_node_without_heartbeats_for_three_periods_is_down() -> None:
    status = status_after(view_of(node("n1")), tracker(), NOW + 3 * SECOND)
    assert (status.state, status.changed_at_ns) == (NodeState.DOWN, NOW + 3 * SECOND)
    assert "heartbeat failure" in status.message


def test_a_node_whose_stream_broke_is_disconnected_at_once_and_down_after_two_periods() -> None:
    heartbeats = tracker(disconnect_ns=NOW)
    view = view_of(node("n1"))
    plan = plan_node_states(view, heartbeats, NOW)
    assert plan.wake_at_ns == NOW + 2 * SECOND
    view = applied(view, plan)
    assert view.nodes.get("n1").status.state is NodeState.DISCONNECTED
    assert not plan_node_states(view, heartbeats, NOW + SECOND).steps
    assert status_after(view, heartbeats, NOW + 2 * SECOND).state is NodeState.DOWN


def test_a_node_that_returns_in_time_is_not_down() -> None:
    heartbeats = tracker(disconnect_ns=NOW)
    heartbeats.record_heartbeat("n1", NOW + SECOND)
    assert not plan_node_states(view_of(node("n1")), heartbeats, NOW + 2 * SECOND).steps


def test_a_new_leader_gives_every_node_the_full_timeout_again() -> None:
    heartbeats = HeartbeatTracker(NOW)
    assert not plan_node_states(view_of(node("n1")), heartbeats, NOW + 3 * SECOND - 1).steps
    assert status_after(view_of(node("n1")), heartbeats, NOW + 3 * SECOND).state is NodeState.DOWN


def test_a_node_that_is_down_is_not_judged_again() -> None:
    plan = plan_node_states(view_of(node("n1", state=NodeState.DOWN)), tracker(), NOW + 99 * SECOND)
    assert (plan.steps, plan.wake_at_ns) == ((), 0)


def test_a_leader_that_stood_still_extends_the_deadlines_by_its_stall() -> None:
    """1. The only manager is stopped for 60 s. 2. No node could be heard meanwhile. 3. A node gets the rest of its timeout, no more."""
    heartbeats, view = tracker(), view_of(node("n1"))
    check_until(heartbeats, NOW, NOW + SECOND)
    resumed_ns = NOW + 61 * SECOND + CHECK_INTERVAL_NS
    assert heartbeats.record_check(resumed_ns) == 60 * SECOND
    assert not plan_node_states(view, heartbeats, resumed_ns).steps
    check_until(heartbeats, resumed_ns, NOW + 63 * SECOND)
    assert not plan_node_states(view, heartbeats, NOW + 63 * SECOND - 1).steps
    assert status_after(view, heartbeats, NOW + 63 * SECOND).state is NodeState.DOWN


def test_a_stall_extends_the_time_for_a_node_to_return_and_for_one_not_heard_of_yet() -> None:
    for heartbeats in (tracker(disconnect_ns=NOW), HeartbeatTracker(NOW)):
        heartbeats.record_check(NOW)
        heartbeats.record_check(NOW + 10 * SECOND)
        plan = plan_node_states(view_of(node("n1")), heartbeats, NOW + 10 * SECOND)
        assert all(step.updates[0].status.state is NodeState.DISCONNECTED for step in plan.steps)
        assert plan.wake_at_ns > NOW + 11 * SECOND


def test_what_is_recorded_between_a_stall_and_the_next_check_does_not_move_into_the_future() -> None:
    heartbeats = tracker()
    heartbeats.record_check(NOW)
    resumed_ns = NOW + 10 * SECOND
    heartbeats.record_heartbeat("n1", resumed_ns)
    heartbeats.record_disconnect("n2", resumed_ns)
    heartbeats.record_check(resumed_ns + 1)
    assert heartbeats.last_heartbeat_ns("n1") == heartbeats.disconnected_since_ns("n2") == resumed_ns + 1


def test_small_delays_of_a_busy_leader_extend_nothing() -> None:
    heartbeats = tracker()
    for at_ns in range(NOW, NOW + 3 * SECOND + 1, 500 * MILLISECOND):
        assert heartbeats.record_check(at_ns) == 0
    assert status_after(view_of(node("n1")), heartbeats, NOW + 3 * SECOND).state is NodeState.DOWN
