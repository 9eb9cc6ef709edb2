"""Learner promotion: the leader promotes a learner that has caught up, once per period, and nobody else does."""

from manager.raft.core import ChangeKind, ConfChange, EntryKind, MessageKind
from manager.raft.learner_promotion import _PERIOD_TICKS, LearnerPromoter
from manager.store.consensus import Member
from tests.support.raft_harness import NodeHarness

LEARNER = Member(raft_id=4, node_id="node-4", addr="host:4", voter=False)


def with_learner() -> tuple[NodeHarness, dict[int, Member]]:
    harness = NodeHarness().leader_with_followers()
    harness.node.propose_conf_change(ConfChange.of(ChangeKind.ADD_LEARNER, LEARNER.raft_id))
    harness.pump()
    harness.receive(MessageKind.APPEND_REPLY, 2, index=harness.state.log.last_index())
    voters = {raft_id: Member(raft_id=raft_id, node_id=f"node-{raft_id}") for raft_id in (1, 2, 3)}
    return harness, {**voters, LEARNER.raft_id: LEARNER}


def catch_up(harness: NodeHarness) -> None:
    harness.receive(MessageKind.APPEND_REPLY, LEARNER.raft_id, index=harness.state.log.last_index())


def last_change(harness: NodeHarness) -> ConfChange | None:
    log = harness.state.log
    entry = log.slice(log.last_index(), log.last_index() + 1, 1 << 20)[0]
    return ConfChange.decode(entry.data) if entry.kind is EntryKind.CONF_CHANGE else None


def ticks(promoter: LearnerPromoter, harness: NodeHarness, members: dict[int, Member], *, is_leader: bool) -> None:
    for _ in range(_PERIOD_TICKS):
        promoter.tick(harness.node, members, is_leader=is_leader)


def test_a_leader_promotes_a_learner_that_has_caught_up() -> None:
    harness, members = with_learner()
    before = harness.state.log.last_index()
    ticks(LearnerPromoter(), harness, members, is_leader=True)
    assert harness.state.log.last_index() == before, "it has acknowledged nothing yet"
    catch_up(harness)
    ticks(LearnerPromoter(), harness, members, is_leader=True)
    change = last_change(harness)
    assert change is not None
    assert [(c.kind, c.node) for c in change.changes] == [(ChangeKind.ADD_VOTER, 4)]


def test_a_manager_that_does_not_count_as_leader_promotes_nobody() -> None:
    harness, members = with_learner()
    catch_up(harness)
    before = harness.state.log.last_index()
    ticks(LearnerPromoter(), harness, members, is_leader=False)
    assert harness.state.log.last_index() == before


def test_a_learner_that_is_no_listed_member_is_not_promoted() -> None:
    """Its address is not known here yet, and the change carries it."""
    harness, members = with_learner()
    catch_up(harness)
    before = harness.state.log.last_index()
    members[LEARNER.raft_id + 1] = members.pop(LEARNER.raft_id)
    ticks(LearnerPromoter(), harness, members, is_leader=True)
    assert harness.state.log.last_index() == before
