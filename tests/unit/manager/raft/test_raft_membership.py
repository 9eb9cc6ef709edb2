"""Membership decisions: quorum checks, promotion of learners, transfer targets, member lists."""

import pytest

from covey.errors import ConflictError
from manager.raft.core import ChangeKind, ConfState, PeerStatus, ProgressState, Role, Status
from manager.raft.membership import (
    CAUGHT_UP_ENTRIES,
    add_change,
    learner_to_promote,
    members_after,
    multi_change,
    remove_change,
    require_quorum_without,
    transfer_target,
)
from manager.store import Member

A, B, C = (Member(raft_id=i, node_id=n, addr=f"{n}:1") for i, n in ((1, "a"), (2, "b"), (3, "c")))
THREE = ConfState(voters=(1, 2, 3))


def status(last_index: int = 1000, **peers: PeerStatus) -> Status:
    return Status(1, Role.LEADER, 1, 1, 1, 0, 0, 1, last_index, 0, THREE, {int(k[1:]): p for k, p in peers.items()})


def peer(match: int, *, learner: bool = False, active: bool = True) -> PeerStatus:
    return PeerStatus(match, match + 1, ProgressState.REPLICATE, learner, active, 0)


def test_a_change_carries_the_member_that_it_adds() -> None:
    members = members_after({1: A}, add_change(ChangeKind.ADD_LEARNER, B), ConfState(voters=(1,), learners=(2,)))
    assert [(m.raft_id, m.node_id, m.addr, m.voter) for m in members.values()] == [
        (1, "a", "a:1", True),
        (2, "b", "b:1", False),
    ]
    members = members_after(members, add_change(ChangeKind.ADD_VOTER, B), ConfState(voters=(1, 2)))
    assert members[2].voter
    assert set(members_after(members, remove_change([2]), ConfState(voters=(1,)))) == {1}


def test_a_refused_change_adds_no_member() -> None:
    assert set(members_after({1: A}, add_change(ChangeKind.ADD_VOTER, B), ConfState(voters=(1,)))) == {1}


def test_a_known_member_s_new_address_replaces_the_old_one() -> None:
    moved = Member(raft_id=2, node_id="b", addr="elsewhere:1")
    assert (
        members_after({1: A, 2: B}, add_change(ChangeKind.ADD_VOTER, moved), ConfState(voters=(1, 2)))[2].addr
        == "elsewhere:1"
    )


@pytest.mark.parametrize(
    ("voters", "reachable", "leaver", "refused"),
    [
        ((1, 2, 3), {1, 2, 3}, 3, None),
        ((1, 2, 3), {1, 2}, 3, None),
        ((1, 2, 3), {1, 2}, 2, "leave 2 managers of which 1 are reachable, but 2 are needed"),
        ((1, 2), {1, 2}, 2, None),
        ((1,), {1}, 1, "is the last one"),
        ((1, 2), {1}, 9, None),
        ((1, 2, 3, 4, 5), {1, 2, 3}, 3, "leave 4 managers of which 2 are reachable, but 3 are needed"),
        ((1, 2, 3, 4, 5), {1, 2, 3}, 4, None),
    ],
)
def test_a_removal_needs_a_reachable_majority_of_the_remaining_voters(voters, reachable, leaver, refused) -> None:
    conf = ConfState(voters=voters)
    if refused is None:
        require_quorum_without(conf, reachable, {leaver: "x"})
        return
    with pytest.raises(ConflictError, match=refused):
        require_quorum_without(conf, reachable, {leaver: "x"})


def test_members_that_leave_together_are_counted_together() -> None:
    five = ConfState(voters=(1, 2, 3, 4, 5))
    require_quorum_without(five, {1, 2, 3}, {4: "d", 5: "e"})
    with pytest.raises(
        ConflictError, match="removing manager c, d would leave 3 managers of which 1 are reachable, but 2 are"
    ):
        require_quorum_without(five, {1, 3, 4}, {3: "c", 4: "d"})


def test_one_change_may_add_and_remove_and_carries_all_added_members() -> None:
    change = multi_change([(ChangeKind.ADD_LEARNER, B), (ChangeKind.ADD_LEARNER, C)], [1])
    members = members_after({1: A}, change, ConfState(voters=(9,), learners=(2, 3)))
    assert {m.raft_id: (m.node_id, m.voter) for m in members.values()} == {2: ("b", False), 3: ("c", False)}
    assert members_after({}, multi_change([(ChangeKind.ADD_VOTER, B)], []), ConfState(voters=(2,)))[2].addr == "b:1"


def test_a_learner_is_promoted_when_it_is_reachable_and_almost_caught_up() -> None:
    near = 1000 - CAUGHT_UP_ENTRIES
    assert learner_to_promote(status(p1=peer(1000), p2=peer(near, learner=True))) == 2
    assert learner_to_promote(status(p1=peer(1000), p2=peer(near - 1, learner=True))) is None
    assert learner_to_promote(status(p1=peer(1000), p2=peer(1000, learner=True, active=False))) is None
    assert learner_to_promote(status(last_index=5, p1=peer(5), p2=peer(0, learner=True))) is None
    assert learner_to_promote(status(p1=peer(1000), p2=peer(1000))) is None


def test_the_transfer_target_is_the_reachable_voter_with_the_longest_log() -> None:
    everybody = (1, 2, 3)
    assert transfer_target(status(p1=peer(1000), p2=peer(900), p3=peer(950)), everybody) == 3
    assert transfer_target(status(p1=peer(1000), p2=peer(900), p3=peer(950)), (1, 2)) == 2
    assert transfer_target(status(p1=peer(1000), p2=peer(900), p3=peer(950, active=False)), everybody) == 2
    assert transfer_target(status(p1=peer(1000), p2=peer(900, learner=True)), everybody) is None
