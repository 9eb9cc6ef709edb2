"""Published leadership: when a manager counts as leader, and suspension after a stall."""

from manager.raft.core import HardState, Role, SoftState
from manager.raft.leadership_state import LeadershipState
from manager.store.consensus import Leadership

ME, OTHER = 1, 2


def state() -> LeadershipState:
    return LeadershipState(3, lambda raft_id: f"host{raft_id}:1" if raft_id else "")


def leading(applied_term: int = 4) -> LeadershipState:
    made = state()
    made.update(SoftState(ME, Role.LEADER), HardState(4, ME, 10))
    made.publish(applied_term)
    return made


def test_a_leader_counts_as_one_only_when_an_entry_of_its_term_is_applied() -> None:
    """Before that it may not have applied everything that earlier leaders acknowledged."""
    made = leading(applied_term=3)
    assert made.published.value == Leadership(is_leader=False, leader_id=ME, leader_addr="host1:1", term=4)
    made.publish(4)
    assert made.published.value.is_leader


def test_a_suspended_leader_names_no_leader_until_it_is_confirmed() -> None:
    made = leading()
    made.suspend()
    assert made.published.value == Leadership(term=4)
    made.publish(4)
    assert made.published.value == Leadership(term=4)
    made.is_suspended = False
    made.publish(4)
    assert made.published.value.is_leader


def test_following_ends_the_suspension() -> None:
    made = leading()
    made.suspend()
    made.update(SoftState(OTHER, Role.FOLLOWER), HardState(5, 0, 10))
    made.publish(4)
    assert made.published.value == Leadership(is_leader=False, leader_id=OTHER, leader_addr="host2:1", term=5)


def test_a_member_announces_itself_once_a_second_while_it_has_no_leader() -> None:
    made = state()
    assert [made.tick() for _ in range(20)] == ([False] * 9 + [True]) * 2
    made.update(SoftState(OTHER, Role.FOLLOWER), None)
    assert not any(made.tick() for _ in range(20))
    made.update(SoftState(0, Role.FOLLOWER), None)
    assert [made.tick() for _ in range(10)] == [False] * 9 + [True]
