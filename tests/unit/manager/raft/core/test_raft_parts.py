"""Small parts of the core on their own: quorums, configuration changes, the log in memory, settings."""

from __future__ import annotations

import random

import pytest

from manager.raft.core import (
    ChangeKind,
    CompactedError,
    ConfChange,
    ConfChangeRefused,
    ConfState,
    Entry,
    InvariantError,
    MemoryStorage,
    NotInLogError,
    RaftConfig,
    SingleChange,
    SnapshotUnavailableError,
    Transition,
    bootstrap_snapshot,
)
from manager.raft.core.confchange import plan
from manager.raft.core.quorum import NO_LIMIT, VoteResult, agreed_index, joint_agreed_index, joint_tally

ADD, LEARN, REMOVE = ChangeKind.ADD_VOTER, ChangeKind.ADD_LEARNER, ChangeKind.REMOVE


def change(*pairs: tuple[ChangeKind, int], transition: Transition = Transition.AUTO) -> ConfChange:
    return ConfChange(tuple(SingleChange(kind, node) for kind, node in pairs), b"", transition)


@pytest.mark.parametrize("seed", range(20))
def test_the_agreed_index_is_the_highest_that_a_majority_reached(seed: int) -> None:
    rng = random.Random(seed)
    acked = {voter: rng.randint(0, 9) for voter in range(1, rng.randint(1, 8) + 1)}
    voters = list(acked)
    majority = len(voters) // 2 + 1
    expected = max(index for index in range(10) if sum(a >= index for a in acked.values()) >= majority)
    assert agreed_index(voters, acked.__getitem__) == expected
    assert joint_agreed_index(voters, (), acked.__getitem__) == expected


def test_a_joint_quorum_needs_both_halves() -> None:
    acked = {1: 9, 2: 9, 3: 4, 4: 4, 5: 4}
    assert joint_agreed_index((1, 2), (3, 4, 5), acked.__getitem__) == 4
    assert joint_tally((1, 2), (3, 4, 5), {1: True, 2: True}) is VoteResult.PENDING
    assert joint_tally((1, 2), (3, 4, 5), {1: True, 2: True, 3: False, 4: False}) is VoteResult.LOST
    assert joint_tally((1, 2), (3, 4, 5), {1: True, 2: True, 3: True, 5: True}) is VoteResult.WON
    assert agreed_index((), acked.__getitem__) == NO_LIMIT


def test_one_voter_more_or_less_needs_no_joint_consensus() -> None:
    conf = ConfState(voters=(1, 2, 3))
    assert plan(conf, change((ADD, 4))) == ConfState(voters=(1, 2, 3, 4))
    assert plan(conf, change((REMOVE, 2))) == ConfState(voters=(1, 3))
    assert plan(conf, change((LEARN, 3))) == ConfState(voters=(1, 2), learners=(3,))
    assert plan(conf, change((LEARN, 8), (LEARN, 9))) == ConfState(voters=(1, 2, 3), learners=(8, 9))


def test_a_voter_becomes_a_learner_only_when_the_joint_membership_is_left() -> None:
    joint = plan(ConfState(voters=(1, 2, 3)), change((LEARN, 3), (ADD, 4)))
    assert joint == ConfState((1, 2, 4), (), (1, 2, 3), (3,), auto_leave=True)
    assert plan(joint, ConfChange()) == ConfState(voters=(1, 2, 4), learners=(3,))


def test_joint_consensus_can_be_requested_and_left_explicitly() -> None:
    joint = plan(ConfState(voters=(1,)), change((ADD, 2), transition=Transition.JOINT_EXPLICIT))
    assert joint == ConfState((1, 2), (), (1,), (), auto_leave=False)


@pytest.mark.parametrize(
    ("conf", "asked", "message"),
    [
        (ConfState(voters=(1,)), change((REMOVE, 1)), "last voter"),
        (ConfState(voters=(1,)), change((LEARN, 1)), "last voter"),
        (ConfState(voters=(1,)), ConfChange(), "not in joint"),
        (ConfState(voters=(1,)), change((ADD, 0)), "not a valid raft id"),
        (ConfState((1, 2), (), (1,)), change((ADD, 3)), "must be left"),
        (ConfState((1, 2), (), (1,)), change((ADD, 3), (ADD, 4)), "must be left"),
        (ConfState(), change((ADD, 3), (ADD, 4)), "without voters"),
    ],
)
def test_impossible_changes_are_refused_by_name(conf: ConfState, asked: ConfChange, message: str) -> None:
    with pytest.raises(ConfChangeRefused, match=message):
        plan(conf, asked)


@pytest.mark.parametrize("seed", range(30))
def test_any_chain_of_changes_keeps_voters_and_learners_apart_and_a_voter_in_place(seed: int) -> None:
    rng = random.Random(seed)
    conf = ConfState(voters=(1, 2, 3))
    for _ in range(40):
        pairs = [(rng.choice((ADD, LEARN, REMOVE)), rng.randint(1, 6)) for _ in range(rng.randint(0, 3))]
        try:
            conf = plan(conf, change(*pairs, transition=rng.choice(list(Transition))))
        except ConfChangeRefused:
            continue
        voters = {*conf.voters, *conf.voters_outgoing}
        assert conf.voters
        assert not voters & {*conf.learners}
        assert {*conf.learners_next} <= {*conf.voters_outgoing} - {*conf.voters}
        assert not conf.auto_leave or conf.voters_outgoing


def test_a_change_survives_its_encoding() -> None:
    asked = ConfChange((SingleChange(ADD, 1 << 63),), b"10.0.0.1:2378", Transition.JOINT_IMPLICIT)
    assert ConfChange.decode(asked.encode()) == asked


def filled(*terms: int) -> MemoryStorage:
    disk = MemoryStorage()
    disk.append([Entry(term, index) for index, term in enumerate(terms, start=1)])
    return disk


def test_the_log_in_memory_answers_within_its_bounds_only() -> None:
    disk = filled(1, 1, 2)
    assert (disk.first_index(), disk.last_index(), disk.term(0), disk.term(3)) == (1, 3, 0, 2)
    with pytest.raises(NotInLogError):
        disk.term(4)
    with pytest.raises(SnapshotUnavailableError):
        disk.snapshot()
    disk.create_snapshot(2, ConfState(voters=(1,)), b"")
    disk.compact(2)
    assert (disk.first_index(), disk.last_index(), disk.term(2)) == (3, 3, 1)
    with pytest.raises(CompactedError):
        disk.term(1)
    with pytest.raises(CompactedError):
        disk.entries(2, 4, 1 << 20)


def test_appended_entries_replace_those_of_the_same_and_higher_indexes() -> None:
    disk = filled(1, 1, 1, 1)
    disk.append([Entry(2, 2)])
    assert (disk.last_index(), disk.term(2)) == (2, 2)
    with pytest.raises(InvariantError, match="gap"):
        disk.append([Entry(2, 9)])


def test_entries_are_cut_by_size_but_never_to_nothing() -> None:
    disk = MemoryStorage()
    disk.append([Entry(1, index, data=b"x" * 100) for index in range(1, 6)])
    assert len(disk.entries(1, 6, 1)) == 1
    assert len(disk.entries(1, 6, 250)) == 2
    assert len(disk.entries(1, 6, 1 << 20)) == 5


def test_nothing_above_the_snapshot_is_compacted() -> None:
    disk = filled(1, 1, 1)
    with pytest.raises(InvariantError, match="above the snapshot"):
        disk.compact(2)


def test_an_older_snapshot_does_not_replace_a_newer_one() -> None:
    disk = filled(1, 1, 1)
    disk.create_snapshot(3, ConfState(voters=(1,)), b"newer")
    disk.apply_snapshot(bootstrap_snapshot([1, 2]))
    assert disk.snapshot().data == b"newer"


@pytest.mark.parametrize(
    "wrong",
    [{"id": 0}, {"id": 1 << 64}, {"election_tick": 1}, {"heartbeat_tick": 0}, {"max_inflight_messages": 0}],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"raft|election_tick"):
        RaftConfig(**{"id": 1, "random": random.Random(1), **wrong})
