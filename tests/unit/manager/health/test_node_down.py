from covey.clock import SECOND
from covey.states import NodeState
from manager.health import HeartbeatTracker, plan_node_states
from tests.support.planning import NOW, applied, node, view_of


def heard(*, last: int = NOW, broke: int = 0) -> HeartbeatTracker:
    beats = HeartbeatTracker(NOW)
    beats.record_heartbeat("n1", last)
    if broke:
        beats.record_disconnect("n1", broke)
    return beats


def state_after(view, beats: HeartbeatTracker, now_ns: int):
    view = applied(view, plan_node_states(view, beats, now_ns), now_ns)
    return view.nodes.get("n1").status


def test_a_node_that_is_heard_stays_ready() -> None:
    decided = plan_node_states(view_of(node("n1")), heard(), NOW + 2 * SECOND)
    assert (decided.steps, decided.wake_at_ns) == ((), NOW + 3 * SECOND)


def test_a_node_that_is_silent_for_three_periods_is_down() -> None:
    status = state_after(view_of(node("n1")), heard(), NOW + 3 * SECOND)
    assert (status.state, status.changed_at_ns) == (NodeState.DOWN, NOW + 3 * SECOND)
    assert "heartbeat failure" in status.message


def test_a_node_whose_stream_broke_is_disconnected_at_once_and_down_after_two_periods() -> None:
    beats = heard(broke=NOW)
    view = view_of(node("n1"))
    decided = plan_node_states(view, beats, NOW)
    assert decided.wake_at_ns == NOW + 2 * SECOND
    view = applied(view, decided)
    assert view.nodes.get("n1").status.state is NodeState.DISCONNECTED
    assert not plan_node_states(view, beats, NOW + SECOND).steps
    assert state_after(view, beats, NOW + 2 * SECOND).state is NodeState.DOWN


def test_a_node_that_returns_in_time_is_not_down() -> None:
    beats = heard(broke=NOW)
    beats.record_heartbeat("n1", NOW + SECOND)
    assert not plan_node_states(view_of(node("n1")), beats, NOW + 2 * SECOND).steps


def test_a_new_leader_gives_every_node_the_whole_time_again() -> None:
    beats = HeartbeatTracker(NOW)
    assert not plan_node_states(view_of(node("n1")), beats, NOW + 3 * SECOND - 1).steps
    assert state_after(view_of(node("n1")), beats, NOW + 3 * SECOND).state is NodeState.DOWN


def test_a_node_that_is_down_is_judged_no_more() -> None:
    decided = plan_node_states(view_of(node("n1", state=NodeState.DOWN)), heard(), NOW + 99 * SECOND)
    assert (decided.steps, decided.wake_at_ns) == ((), 0)
