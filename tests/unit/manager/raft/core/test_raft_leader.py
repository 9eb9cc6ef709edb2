"""Leader behaviour beyond figure 2 of the paper: flow control, snapshots, transfer, reads, membership, limits."""

from __future__ import annotations

import pytest

from manager.raft.core import (
    ChangeKind,
    ConfChange,
    ConfChangeRefused,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    InvariantError,
    Message,
    MessageKind,
    ProgressState,
    ProposalDropped,
    ReadState,
    Role,
    SingleChange,
    Snapshot,
    SnapshotMeta,
)
from tests.support.raft_harness import NodeHarness

K = MessageKind


def commit_change(harness: NodeHarness, change: ConfChange) -> ConfState:
    """Proposes a change, which all acknowledge at once, and applies it; returns the configuration after it."""
    index = harness.state.log.last_index() + 1
    harness.node.propose_conf_change(change)
    harness.pump()
    for peer in list(harness.state.tracker.progress):
        if harness.state.log.committed < index:
            harness.receive(K.APPEND_REPLY, peer, index=index)
    return harness.node.status().conf_state


def test_proposals_between_two_readys_travel_in_one_append() -> None:
    harness = NodeHarness().leader_with_followers()
    for data in (b"a", b"b", b"c"):
        harness.node.propose(data)
    ready = harness.node.ready()
    assert [(m.to, [e.data for e in m.entries]) for m in ready.messages] == [
        (2, [b"a", b"b", b"c"]),
        (3, [b"a", b"b", b"c"]),
    ]


def test_appends_stream_within_the_window_and_go_on_when_acknowledged() -> None:
    harness = NodeHarness(max_inflight_messages=2, max_bytes_per_message=1).leader_with_followers()
    for number in range(5):
        harness.node.propose(b"%d" % number)
    to_2 = [m.entries[0].index for m in harness.pump() if m.to == 2]
    assert to_2 == [3, 4]
    to_2 = [m.entries[0].index for m in harness.receive(K.APPEND_REPLY, 2, index=3) if m.to == 2 and m.entries]
    assert to_2 == [5]


def test_a_message_is_bounded_but_carries_at_least_one_entry() -> None:
    harness = NodeHarness(max_bytes_per_message=100).leader_with_followers()
    for size in (300, 10, 10, 10, 10):
        harness.node.propose(b"x" * size)
    assert [len(m.entries) for m in harness.pump() if m.to == 2] == [1, 3, 1]


def test_a_probed_peer_gets_one_append_a_heartbeat() -> None:
    harness = NodeHarness().lead()
    assert harness.node.status().peers[2].state is ProgressState.PROBE
    harness.node.propose(b"x")
    assert harness.pump() == []
    said = harness.receive(K.HEARTBEAT_REPLY, 2)
    assert [(m.kind, len(m.entries)) for m in said] == [(K.APPEND, 2)]


def test_an_unreachable_peer_is_probed_again() -> None:
    harness = NodeHarness().leader_with_followers()
    assert harness.node.status().peers[2].state is ProgressState.REPLICATE
    harness.node.report_unreachable(2)
    assert harness.node.status().peers[2].state is ProgressState.PROBE


def test_a_heartbeat_never_tells_a_commit_that_the_peer_may_not_hold() -> None:
    harness = NodeHarness().lead()
    harness.receive(K.APPEND_REPLY, 2, index=2)
    assert {(m.to, m.commit) for m in harness.tick() if m.kind is K.HEARTBEAT} == {(2, 2), (3, 0)}


def test_a_peer_behind_the_compacted_log_gets_the_snapshot_and_nothing_else_until_it_has_it() -> None:
    harness = NodeHarness().leader_with_followers()
    for data in (b"a", b"b"):
        harness.node.propose(data)
    harness.pump()
    harness.receive(K.APPEND_REPLY, 2, index=4)
    harness.disk.create_snapshot(4, harness.state.tracker.conf, b"state")
    harness.disk.compact(4)
    (message,) = harness.receive(K.APPEND_REPLY, 3, reject=True, index=4, reject_hint=2, hint_term=2)
    assert message.kind is K.SNAPSHOT
    assert message.snapshot == harness.disk.snapshot()
    harness.node.propose(b"c")
    assert [m.to for m in harness.pump()] == [2]
    said = harness.receive(K.APPEND_REPLY, 3, index=4)
    assert [(m.to, m.index) for m in said if m.entries] == [(3, 4)]


def test_after_a_snapshot_the_leader_waits_for_a_heartbeats_answer() -> None:
    for ok, following in ((True, 5), (False, 3)):
        harness = NodeHarness().leader_with_followers()
        for data in (b"a", b"b"):
            harness.node.propose(data)
        harness.pump()
        harness.receive(K.APPEND_REPLY, 2, index=4)
        harness.disk.create_snapshot(4, harness.state.tracker.conf, b"state")
        harness.disk.compact(4)
        harness.receive(K.APPEND_REPLY, 3, reject=True, index=4, reject_hint=2, hint_term=2)
        harness.node.report_snapshot(3, ok)
        harness.node.propose(b"c")
        assert [m.to for m in harness.pump()] == [2]
        assert harness.node.status().peers[3].next == following
        said = harness.receive(K.HEARTBEAT_REPLY, 3)
        assert [m.kind for m in said] == [K.APPEND if ok else K.SNAPSHOT]


def test_a_stale_rejection_changes_nothing() -> None:
    harness = NodeHarness().leader_with_followers()
    harness.node.propose(b"x")
    harness.pump()
    harness.receive(K.APPEND_REPLY, 2, index=3)
    assert harness.receive(K.APPEND_REPLY, 2, reject=True, index=3, reject_hint=1, hint_term=1) == []
    assert harness.node.status().peers[2].state is ProgressState.REPLICATE
    probing = NodeHarness(terms=(1, 1, 1)).lead()
    probing.receive(K.APPEND_REPLY, 2, reject=True, index=4, reject_hint=2, hint_term=1)
    assert probing.node.status().peers[2].next == 3
    assert probing.receive(K.APPEND_REPLY, 2, reject=True, index=4, reject_hint=1, hint_term=1) == []
    assert probing.node.status().peers[2].next == 3


def test_a_follower_restores_a_snapshot_before_it_acknowledges_it() -> None:
    harness = NodeHarness(terms=(1, 1))
    conf = ConfState(voters=(1, 2), learners=(7,))
    snapshot = Snapshot(SnapshotMeta(9, 3, conf), b"state")
    harness.node.step(Message(K.SNAPSHOT, 1, 2, 4, snapshot=snapshot))
    ready = harness.node.ready()
    assert ready.snapshot == snapshot
    assert ready.must_sync
    assert [(m.kind, m.index) for m in ready.messages_after_sync] == [(K.APPEND_REPLY, 9)]
    harness.write(ready)
    harness.node.advance(ready)
    status = harness.node.status()
    assert (status.commit, status.applied, status.last_index, status.conf_state) == (9, 9, 9, conf)


def test_a_membership_change_overtaken_by_a_snapshot_does_not_touch_the_snapshots_membership() -> None:
    """1. A committed change is handed out. 2. Before it is applied, a snapshot with a later configuration arrives."""
    harness = NodeHarness()
    change = ConfChange.of(ChangeKind.ADD_LEARNER, 9)
    harness.receive(
        K.APPEND, term=2, index=1, log_term=1, entries=(Entry(2, 2, EntryKind.CONF_CHANGE, change.encode()),)
    )
    harness.node.step(Message(K.HEARTBEAT, 1, 2, 2, commit=2))
    ready = harness.node.ready()
    assert len(ready.committed) == 1
    later = ConfState(voters=(1, 2))
    harness.node.step(Message(K.SNAPSHOT, 1, 2, 2, snapshot=Snapshot(SnapshotMeta(8, 2, later), b"state")))
    assert harness.node.apply_conf_change(change) == later
    harness.write(ready)
    harness.node.advance(ready)
    harness.pump()
    assert harness.node.status().conf_state == later


def test_a_tail_replaced_while_it_is_written_is_written_again() -> None:
    harness = NodeHarness()
    harness.node.step(Message(K.APPEND, 1, 2, 2, 1, 1, (Entry(2, 2, data=b"old"), Entry(2, 3, data=b"old"))))
    first = harness.node.ready()
    harness.node.step(Message(K.APPEND, 1, 3, 3, 1, 1, (Entry(3, 2, data=b"new"),)))
    harness.write(first)
    harness.node.advance(first)
    second = harness.node.ready()
    assert [e.data for e in second.entries] == [b"new"]
    harness.write(second)
    harness.node.advance(second)
    assert [e.data for e in harness.disk.entries(2, harness.disk.last_index() + 1, 1 << 20)] == [b"new"]


def test_a_tail_of_the_same_length_in_another_term_is_written_again_too() -> None:
    harness = NodeHarness()
    harness.node.step(Message(K.APPEND, 1, 2, 2, 1, 1, (Entry(2, 2), Entry(2, 3))))
    first = harness.node.ready()
    harness.node.step(Message(K.APPEND, 1, 3, 3, 1, 1, (Entry(3, 2), Entry(3, 3))))
    harness.write(first)
    harness.node.advance(first)
    assert harness.node.ready().entries == [Entry(3, 2), Entry(3, 3)]


def test_entries_after_a_snapshot_that_arrived_during_the_write_are_written_again() -> None:
    """1. Entries of term 2 are being written. 2. Term 3 replaces them. 3. Term 4 sends a snapshot over them and, after it, the same
    entry of term 2 that is being written. The snapshot clears the log on disk, so that entry must be written again.
    """
    harness = NodeHarness()
    entries = tuple(Entry(2, index) for index in (2, 3, 4))
    harness.node.step(Message(K.APPEND, 1, 2, 2, 1, 1, entries))
    first = harness.node.ready()
    harness.node.step(Message(K.APPEND, 1, 3, 3, 1, 1, (Entry(3, 2),)))
    snapshot = Snapshot(SnapshotMeta(3, 2, ConfState(voters=(1, 2, 3))), b"state")
    harness.node.step(Message(K.SNAPSHOT, 1, 2, 4, snapshot=snapshot))
    harness.node.step(Message(K.APPEND, 1, 2, 4, 2, 3, entries[2:]))
    harness.write(first)
    harness.node.advance(first)
    second = harness.node.ready()
    assert (second.snapshot, second.entries) == (snapshot, [Entry(2, 4)])


def test_a_write_must_be_synced_unless_only_the_commit_index_moved() -> None:
    harness = NodeHarness()
    harness.receive(K.HEARTBEAT, 2, term=2)
    harness.node.step(Message(K.APPEND, 1, 2, 2, 1, 1, (Entry(2, 2),)))
    ready = harness.node.ready()
    assert (ready.must_sync, ready.hard_state) == (True, None)
    harness.write(ready)
    harness.node.advance(ready)
    harness.node.step(Message(K.HEARTBEAT, 1, 2, 2, commit=2))
    ready = harness.node.ready()
    assert (ready.must_sync, ready.hard_state is None) == (False, False)


def test_only_stable_entries_are_handed_out_to_be_applied() -> None:
    harness = NodeHarness()
    harness.node.step(Message(K.APPEND, 1, 2, 2, 1, 1, (Entry(2, 2, data=b"x"),), commit=2))
    ready = harness.node.ready()
    assert ready.committed == []
    harness.write(ready)
    harness.node.advance(ready)
    assert [e.index for e in harness.node.ready().committed] == [2]


def test_the_hard_state_written_with_entries_covers_their_commit() -> None:
    """The commit index alone is not flushed, so an index without these entries would be lost in a crash (golden script 34)."""
    harness = NodeHarness()
    harness.node.step(Message(K.APPEND, 1, 2, 2, 1, 1, (Entry(2, 2), Entry(2, 3)), commit=2))
    ready = harness.node.ready()
    assert (ready.entries, ready.hard_state) == ([Entry(2, 2), Entry(2, 3)], HardState(2, 0, 2))


def test_one_ready_at_a_time() -> None:
    harness = NodeHarness()
    harness.node.campaign()
    ready = harness.node.ready()
    assert not harness.node.has_ready()
    with pytest.raises(InvariantError):
        harness.node.ready()
    harness.node.advance(ready)
    with pytest.raises(InvariantError):
        harness.node.advance(ready)


def test_proposals_over_the_limit_are_refused_until_earlier_ones_are_applied() -> None:
    harness = NodeHarness(max_uncommitted_bytes=10).leader_with_followers()
    harness.node.propose(b"x" * 100)  # one that is too large alone may pass
    with pytest.raises(ProposalDropped, match="too many bytes are waiting"):
        harness.node.propose(b"y")
    harness.pump()
    harness.receive(K.APPEND_REPLY, 2, index=3)
    harness.node.propose(b"y")


def test_a_transfer_waits_until_the_target_has_caught_up_and_refuses_proposals_meanwhile() -> None:
    harness = NodeHarness().leader_with_followers()
    harness.node.propose(b"x")
    harness.pump()
    harness.node.transfer_leader(2)
    assert all(m.kind is not K.TIMEOUT_NOW for m in harness.pump())
    with pytest.raises(ProposalDropped, match="transferred"):
        harness.node.propose(b"y")
    assert K.TIMEOUT_NOW in {m.kind for m in harness.receive(K.APPEND_REPLY, 2, index=3) if m.to == 2}


def test_a_transfer_that_takes_too_long_is_given_up() -> None:
    harness = NodeHarness(check_quorum=False).leader_with_followers()
    harness.node.transfer_leader(3)
    harness.tick(10)
    harness.node.propose(b"x")


def test_leadership_cannot_be_transferred_to_a_learner() -> None:
    harness = NodeHarness().leader_with_followers()
    commit_change(harness, ConfChange.of(ChangeKind.ADD_LEARNER, 4))
    with pytest.raises(ProposalDropped, match="not a voter"):
        harness.node.transfer_leader(4)


def test_the_transfer_target_campaigns_at_once_and_ignores_the_lease() -> None:
    harness = NodeHarness()
    harness.receive(K.HEARTBEAT, 2, term=2)
    said = harness.receive(K.TIMEOUT_NOW, 2)
    assert {(m.kind, m.term, m.context) for m in said} == {(K.VOTE, 3, b"transfer")}


def test_a_read_waits_for_a_majority_that_answers_a_later_heartbeat() -> None:
    harness = NodeHarness(5).leader_with_followers()
    harness.node.read_index(b"r")
    beats = harness.pump()
    context = beats[0].context
    harness.receive(K.HEARTBEAT_REPLY, 2, context=context)
    assert harness.state.reads.waiting
    harness.node.step(Message(K.HEARTBEAT_REPLY, 1, 3, 2, context=context))
    assert harness.node.ready().read_states == [ReadState(2, b"r")]


def test_a_read_asked_after_a_heartbeat_is_not_answered_by_that_heartbeats_replies() -> None:
    harness = NodeHarness().leader_with_followers()
    harness.node.read_index(b"first")
    harness.node.tick()
    context = next(m.context for m in harness.node._state.messages if m.kind is K.HEARTBEAT)
    harness.node.read_index(b"second")
    harness.node.step(Message(K.HEARTBEAT_REPLY, 1, 2, 2, context=context))
    assert [read.context for read in harness.node.ready().read_states] == [b"first"]


def test_a_new_leader_answers_no_read_before_it_has_committed_in_its_term() -> None:
    harness = NodeHarness(terms=(1, 1)).lead()
    harness.node.read_index(b"r")
    assert not any(m.kind is K.HEARTBEAT for m in harness.pump())
    said = harness.receive(K.APPEND_REPLY, 2, index=4)
    context = next(m.context for m in said if m.kind is K.HEARTBEAT)
    harness.node.step(Message(K.HEARTBEAT_REPLY, 1, 2, 2, context=context))
    assert harness.node.ready().read_states == [ReadState(4, b"r")]


def test_a_read_is_forgotten_with_the_leadership_that_took_it() -> None:
    harness = NodeHarness(pre_vote=False).leader_with_followers()
    harness.node.read_index(b"old")
    harness.pump()
    harness.receive(K.HEARTBEAT, 2, term=3)
    harness.tick(10)
    harness.receive(K.VOTE_REPLY, 2, term=4)
    assert harness.state.role is Role.LEADER
    assert not harness.state.reads.waiting


def test_reads_are_bounded() -> None:
    harness = NodeHarness(max_pending_reads=1).leader_with_followers()
    harness.node.read_index(b"r")
    with pytest.raises(ProposalDropped, match="too many reads"):
        harness.node.read_index(b"s")


def test_one_membership_change_at_a_time() -> None:
    harness = NodeHarness().leader_with_followers()
    harness.node.propose_conf_change(ConfChange.of(ChangeKind.ADD_LEARNER, 4))
    with pytest.raises(ConfChangeRefused, match="log index 3"):
        harness.node.propose_conf_change(ConfChange.of(ChangeKind.ADD_LEARNER, 5))


def test_a_new_leader_takes_no_membership_change_before_it_knows_of_the_last_one() -> None:
    harness = NodeHarness()
    change = ConfChange.of(ChangeKind.ADD_LEARNER, 4)
    harness.receive(
        K.APPEND, term=2, index=1, log_term=1, entries=(Entry(2, 2, EntryKind.CONF_CHANGE, change.encode()),)
    )
    harness.tick(10)
    harness.lead()
    with pytest.raises(ConfChangeRefused, match="may be under way"):
        harness.node.propose_conf_change(ConfChange.of(ChangeKind.ADD_LEARNER, 5))


def test_a_smaller_membership_commits_what_the_larger_one_could_not() -> None:
    harness = NodeHarness(4).leader_with_followers()
    harness.node.propose_conf_change(ConfChange.of(ChangeKind.REMOVE, 4))
    harness.node.propose(b"x")
    harness.pump()
    harness.receive(K.APPEND_REPLY, 2, index=4)
    assert harness.state.log.committed == 2
    harness.receive(K.APPEND_REPLY, 3, index=3)
    assert harness.state.log.committed == 4


def test_a_new_member_counts_as_active_until_it_had_time_to_answer() -> None:
    harness = NodeHarness(1).lead()
    harness.tick(9)
    commit_change(harness, ConfChange.of(ChangeKind.ADD_VOTER, 2))
    harness.tick(1)
    assert harness.state.role is Role.LEADER
    harness.tick(10)
    assert harness.state.role is Role.FOLLOWER


def test_a_learner_does_not_count() -> None:
    harness = NodeHarness(1).lead()
    conf = commit_change(harness, ConfChange.of(ChangeKind.ADD_LEARNER, 2))
    assert conf == ConfState(voters=(1,), learners=(2,))
    harness.node.propose(b"x")
    harness.pump()
    assert harness.state.log.committed == harness.state.log.last_index()


def test_a_learner_does_not_campaign() -> None:
    harness = NodeHarness()
    harness.node.apply_conf_change(ConfChange.of(ChangeKind.ADD_LEARNER, 1))
    assert harness.tick(50) == []


def test_a_change_of_several_voters_goes_through_joint_consensus_and_leaves_by_itself() -> None:
    harness = NodeHarness().leader_with_followers()
    change = ConfChange((SingleChange(ChangeKind.ADD_VOTER, 4), SingleChange(ChangeKind.REMOVE, 3)))
    conf = commit_change(harness, change)
    assert conf == ConfState(voters=(1, 2, 4), voters_outgoing=(1, 2, 3), auto_leave=True)
    harness.pump()
    leave = harness.disk.entries(harness.disk.last_index(), harness.disk.last_index() + 1, 1)[0]
    assert ConfChange.decode(leave.data) == ConfChange()
    # 1 and 4 are a majority of the new membership only, 1 and 2 of both.
    harness.receive(K.APPEND_REPLY, 4, index=leave.index)
    assert harness.state.log.committed == leave.index - 1
    harness.receive(K.APPEND_REPLY, 2, index=leave.index)
    assert harness.state.log.committed == leave.index


def test_a_removed_leader_steps_down_when_its_removal_is_applied() -> None:
    harness = NodeHarness().leader_with_followers()
    conf = commit_change(harness, ConfChange.of(ChangeKind.REMOVE, 1))
    assert conf == ConfState(voters=(2, 3))
    assert harness.state.role is Role.FOLLOWER
    assert harness.tick(50) == []


def test_no_campaign_while_a_committed_membership_change_is_not_applied() -> None:
    harness = NodeHarness(pre_vote=False)
    change = ConfChange.of(ChangeKind.REMOVE, 3)
    harness.receive(
        K.APPEND, term=2, index=1, log_term=1, entries=(Entry(2, 2, EntryKind.CONF_CHANGE, change.encode()),)
    )
    harness.node.step(Message(K.HEARTBEAT, 1, 2, 2, commit=2))
    harness.node.campaign()
    assert harness.state.role is Role.FOLLOWER


def test_a_proposal_names_the_leader_it_should_go_to() -> None:
    harness = NodeHarness()
    harness.receive(K.HEARTBEAT, 3, term=2)
    with pytest.raises(ProposalDropped) as refused:
        harness.node.propose(b"x")
    assert refused.value.leader == 3
