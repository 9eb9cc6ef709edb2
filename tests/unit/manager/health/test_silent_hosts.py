"""The host of the previous leader: Raft messages count as heartbeats, but only a host that answers nothing is judged by them."""

from hypothesis import given
from hypothesis import strategies as st

from covey.clock import MILLISECOND, SECOND
from covey.states import NodeState
from manager.health import CHECK_INTERVAL_NS, HeartbeatTracker, plan_node_states
from tests.support.planning import NOW, node, view_of

LEADS = NOW + SECOND
"""When the new leader begins to lead; it heard the previous one last at NOW."""
GRACE = LEADS + 2 * SECOND + 3 * SECOND
EVENTS = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from(("silent", "answers", "session", "stall"))), max_size=12
)


def is_down(heartbeats: HeartbeatTracker, now_ns: int) -> bool:
    steps = plan_node_states(view_of(node("n1")), heartbeats, now_ns).steps
    return any(changed.status.state is NodeState.DOWN for step in steps for changed in step.updates)


def new_leader() -> HeartbeatTracker:
    heartbeats = HeartbeatTracker(LEADS + 2 * SECOND)
    heartbeats.record_check(LEADS)
    return heartbeats


def test_a_silent_host_is_down_three_periods_after_its_manager_was_last_heard() -> None:
    heartbeats = new_leader()
    heartbeats.record_silent_host("n1", NOW)
    assert not is_down(heartbeats, NOW + 3 * SECOND - 1)
    assert is_down(heartbeats, NOW + 3 * SECOND)


def test_a_host_that_answers_gets_the_new_leaders_whole_grace() -> None:
    heartbeats = new_leader()
    heartbeats.record_silent_host("n1", NOW)
    heartbeats.record_answering_host("n1")
    assert not is_down(heartbeats, GRACE - 1)
    assert is_down(heartbeats, GRACE)


def test_a_node_with_a_session_is_judged_by_its_own_heartbeats() -> None:
    heartbeats = new_leader()
    heartbeats.record_heartbeat("n1", LEADS + SECOND)
    heartbeats.record_silent_host("n1", NOW)
    assert not is_down(heartbeats, LEADS + 4 * SECOND - 1)
    assert is_down(heartbeats, LEADS + 4 * SECOND)


def test_silence_during_a_stall_of_the_new_leader_does_not_count() -> None:
    heartbeats = new_leader()
    heartbeats.record_silent_host("n1", NOW)
    woken = LEADS + 10 * SECOND
    heartbeats.record_check(woken)
    assert not is_down(heartbeats, woken)
    heartbeats.record_silent_host("n1", NOW)  # what is proved again counts from the end of the stall
    assert not is_down(heartbeats, woken + 3 * SECOND - 1)
    assert is_down(heartbeats, woken + 3 * SECOND)


@given(EVENTS)
def test_a_node_is_down_early_only_while_its_host_is_silent_and_never_heard_of(events: list[tuple[int, str]]) -> None:
    """The law: until the whole grace is over, only a host that was silent in the last probe, of a node without a session under this
    leader, can be DOWN, and not before three periods after its manager was last heard.
    """
    heartbeats = new_leader()
    silent, heard, now = False, False, LEADS
    for delay, event in [*events, (0, "answers")]:
        for _ in range(delay):
            now += CHECK_INTERVAL_NS
            heartbeats.record_check(now)
            if now < GRACE and not heard:
                assert is_down(heartbeats, now) <= (silent and now >= NOW + 3 * SECOND)
        match event:
            case "silent":
                heartbeats.record_silent_host("n1", NOW)
                silent = not heard
            case "answers":
                heartbeats.record_answering_host("n1")
                silent = False
            case "session":
                heartbeats.record_heartbeat("n1", now)
                heard, silent = True, False
            case _:
                now += 700 * MILLISECOND
                heartbeats.record_check(now)
                silent = False
        assert silent or now >= GRACE or heard or not is_down(heartbeats, now)
