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


def commit_change(bench: NodeHarness, change: ConfChange) -> ConfState:
    """Proposes a change that all acknowledge at once, and applies it; the membership right after."""
    index = bench.state.log.last_index() + 1
    bench.node.propose_conf_change(change)
    bench.pump()
    for peer in list(bench.state.tracker.progress):
        if bench.state.log.committed < index:
            bench.hear(K.APPEND_REPLY, peer, index=index)
    return bench.node.status().conf_state


def test_proposals_between_two_readys_travel_in_one_append() -> None:
    bench = NodeHarness().leader_with_followers()
    for data in (b"a", b"b", b"c"):
        bench.node.propose(data)
    ready = bench.node.ready()
    assert [(m.to, [e.data for e in m.entries]) for m in ready.messages] == [
        (2, [b"a", b"b", b"c"]),
        (3, [b"a", b"b", b"c"]),
    ]


def test_appends_stream_within_the_window_and_go_on_when_acknowledged() -> None:
    bench = NodeHarness(max_inflight_messages=2, max_bytes_per_message=1).leader_with_followers()
    for number in range(5):
        bench.node.propose(b"%d" % number)
    to_2 = [m.entries[0].index for m in bench.pump() if m.to == 2]
    assert to_2 == [3, 4]
    to_2 = [m.entries[0].index for m in bench.hear(K.APPEND_REPLY, 2, index=3) if m.to == 2 and m.entries]
    assert to_2 == [5]


def test_a_message_is_bounded_but_carries_at_least_one_entry() -> None:
    bench = NodeHarness(max_bytes_per_message=100).leader_with_followers()
    for size in (300, 10, 10, 10, 10):
        bench.node.propose(b"x" * size)
    assert [len(m.entries) for m in bench.pump() if m.to == 2] == [1, 3, 1]


def test_a_probed_peer_gets_one_append_a_heartbeat() -> None:
    bench = NodeHarness().lead()
    assert bench.node.status().peers[2].state is ProgressState.PROBE
    bench.node.propose(b"x")
    assert bench.pump() == []
    said = bench.hear(K.HEARTBEAT_REPLY, 2)
    assert [(m.kind, len(m.entries)) for m in said] == [(K.APPEND, 2)]


def test_an_unreachable_peer_is_probed_again() -> None:
    bench = NodeHarness().leader_with_followers()
    assert bench.node.status().peers[2].state is ProgressState.REPLICATE
    bench.node.report_unreachable(2)
    assert bench.node.status().peers[2].state is ProgressState.PROBE


def test_a_heartbeat_never_tells_a_commit_that_the_peer_may_not_hold() -> None:
    bench = NodeHarness().lead()
    bench.hear(K.APPEND_REPLY, 2, index=2)
    assert {(m.to, m.commit) for m in bench.tick() if m.kind is K.HEARTBEAT} == {(2, 2), (3, 0)}


def test_a_peer_behind_the_compacted_log_gets_the_snapshot_and_nothing_else_until_it_has_it() -> None:
    bench = NodeHarness().leader_with_followers()
    for data in (b"a", b"b"):
        bench.node.propose(data)
    bench.pump()
    bench.hear(K.APPEND_REPLY, 2, index=4)
    bench.disk.create_snapshot(4, bench.state.tracker.conf, b"state")
    bench.disk.compact(4)
    (message,) = bench.hear(K.APPEND_REPLY, 3, reject=True, index=4, reject_hint=2, hint_term=2)
    assert message.kind is K.SNAPSHOT
    assert message.snapshot == bench.disk.snapshot()
    bench.node.propose(b"c")
    assert [m.to for m in bench.pump()] == [2]
    said = bench.hear(K.APPEND_REPLY, 3, index=4)
    assert [(m.to, m.index) for m in said if m.entries] == [(3, 4)]


def test_after_a_snapshot_the_leader_waits_for_a_heartbeats_answer() -> None:
    for ok, following in ((True, 5), (False, 3)):
        bench = NodeHarness().leader_with_followers()
        for data in (b"a", b"b"):
            bench.node.propose(data)
        bench.pump()
        bench.hear(K.APPEND_REPLY, 2, index=4)
        bench.disk.create_snapshot(4, bench.state.tracker.conf, b"state")
        bench.disk.compact(4)
        bench.hear(K.APPEND_REPLY, 3, reject=True, index=4, reject_hint=2, hint_term=2)
        bench.node.report_snapshot(3, ok)
        bench.node.propose(b"c")
        assert [m.to for m in bench.pump()] == [2]
        assert bench.node.status().peers[3].next == following
        said = bench.hear(K.HEARTBEAT_REPLY, 3)
        assert [m.kind for m in said] == [K.APPEND if ok else K.SNAPSHOT]


def test_a_late_refusal_changes_nothing() -> None:
    bench = NodeHarness().leader_with_followers()
    bench.node.propose(b"x")
    bench.pump()
    bench.hear(K.APPEND_REPLY, 2, index=3)
    assert bench.hear(K.APPEND_REPLY, 2, reject=True, index=3, reject_hint=1, hint_term=1) == []
    assert bench.node.status().peers[2].state is ProgressState.REPLICATE
    probing = NodeHarness(terms=(1, 1, 1)).lead()
    probing.hear(K.APPEND_REPLY, 2, reject=True, index=4, reject_hint=2, hint_term=1)
    assert probing.node.status().peers[2].next == 3
    assert probing.hear(K.APPEND_REPLY, 2, reject=True, index=4, reject_hint=1, hint_term=1) == []
    assert probing.node.status().peers[2].next == 3


def test_a_follower_restores_a_snapshot_before_it_acknowledges_it() -> None:
    bench = NodeHarness(terms=(1, 1))
    conf = ConfState(voters=(1, 2), learners=(7,))
    snapshot = Snapshot(SnapshotMeta(9, 3, conf), b"state")
    bench.node.step(Message(K.SNAPSHOT, 1, 2, 4, snapshot=snapshot))
    ready = bench.node.ready()
    assert ready.snapshot == snapshot
    assert ready.must_sync
    assert [(m.kind, m.index) for m in ready.messages_after_sync] == [(K.APPEND_REPLY, 9)]
    bench.write(ready)
    bench.node.advance(ready)
    status = bench.node.status()
    assert (status.commit, status.applied, status.last_index, status.conf_state) == (9, 9, 9, conf)


def test_a_membership_change_overtaken_by_a_snapshot_does_not_touch_the_snapshots_membership() -> None:
    """1. A committed change is handed out. 2. Before it is applied, a snapshot with a later membership comes in."""
    bench = NodeHarness()
    change = ConfChange.of(ChangeKind.ADD_LEARNER, 9)
    bench.hear(K.APPEND, term=2, index=1, log_term=1, entries=(Entry(2, 2, EntryKind.CONF_CHANGE, change.encode()),))
    bench.node.step(Message(K.HEARTBEAT, 1, 2, 2, commit=2))
    ready = bench.node.ready()
    assert len(ready.committed) == 1
    later = ConfState(voters=(1, 2))
    bench.node.step(Message(K.SNAPSHOT, 1, 2, 2, snapshot=Snapshot(SnapshotMeta(8, 2, later), b"state")))
    assert bench.node.apply_conf_change(change) == later
    bench.write(ready)
    bench.node.advance(ready)
    bench.pump()
    assert bench.node.status().conf_state == later


def test_a_tail_replaced_while_it_is_written_is_written_again() -> None:
    bench = NodeHarness()
    bench.node.step(Message(K.APPEND, 1, 2, 2, 1, 1, (Entry(2, 2, data=b"old"), Entry(2, 3, data=b"old"))))
    first = bench.node.ready()
    bench.node.step(Message(K.APPEND, 1, 3, 3, 1, 1, (Entry(3, 2, data=b"new"),)))
    bench.write(first)
    bench.node.advance(first)
    second = bench.node.ready()
    assert [e.data for e in second.entries] == [b"new"]
    bench.write(second)
    bench.node.advance(second)
    assert [e.data for e in bench.disk.entries(2, bench.disk.last_index() + 1, 1 << 20)] == [b"new"]


def test_a_tail_of_the_same_length_in_another_term_is_written_again_too() -> None:
    bench = NodeHarness()
    bench.node.step(Message(K.APPEND, 1, 2, 2, 1, 1, (Entry(2, 2), Entry(2, 3))))
    first = bench.node.ready()
    bench.node.step(Message(K.APPEND, 1, 3, 3, 1, 1, (Entry(3, 2), Entry(3, 3))))
    bench.write(first)
    bench.node.advance(first)
    assert bench.node.ready().entries == [Entry(3, 2), Entry(3, 3)]


def test_what_follows_a_snapshot_that_came_during_the_write_is_written_again() -> None:
    """1. Entries of term 2 are being written. 2. Term 3 replaces them. 3. Term 4 sends a snapshot over them and, after it,
    the very entry of term 2 that the write holds. The snapshot will wipe the disk's log, so that entry must come again."""
    bench = NodeHarness()
    entries = tuple(Entry(2, index) for index in (2, 3, 4))
    bench.node.step(Message(K.APPEND, 1, 2, 2, 1, 1, entries))
    first = bench.node.ready()
    bench.node.step(Message(K.APPEND, 1, 3, 3, 1, 1, (Entry(3, 2),)))
    snapshot = Snapshot(SnapshotMeta(3, 2, ConfState(voters=(1, 2, 3))), b"state")
    bench.node.step(Message(K.SNAPSHOT, 1, 2, 4, snapshot=snapshot))
    bench.node.step(Message(K.APPEND, 1, 2, 4, 2, 3, entries[2:]))
    bench.write(first)
    bench.node.advance(first)
    second = bench.node.ready()
    assert (second.snapshot, second.entries) == (snapshot, [Entry(2, 4)])


def test_a_write_must_be_synced_unless_only_the_commit_index_moved() -> None:
    bench = NodeHarness()
    bench.hear(K.HEARTBEAT, 2, term=2)
    bench.node.step(Message(K.APPEND, 1, 2, 2, 1, 1, (Entry(2, 2),)))
    ready = bench.node.ready()
    assert (ready.must_sync, ready.hard_state) == (True, None)
    bench.write(ready)
    bench.node.advance(ready)
    bench.node.step(Message(K.HEARTBEAT, 1, 2, 2, commit=2))
    ready = bench.node.ready()
    assert (ready.must_sync, ready.hard_state is None) == (False, False)


def test_only_stable_entries_are_handed_out_to_be_applied() -> None:
    bench = NodeHarness()
    bench.node.step(Message(K.APPEND, 1, 2, 2, 1, 1, (Entry(2, 2, data=b"x"),), commit=2))
    ready = bench.node.ready()
    assert ready.committed == []
    bench.write(ready)
    bench.node.advance(ready)
    assert [e.index for e in bench.node.ready().committed] == [2]


def test_what_is_written_with_entries_says_which_of_them_are_committed() -> None:
    """The commit index alone needs no flush, so an index that left them out would be lost in a crash: see golden script 34."""
    bench = NodeHarness()
    bench.node.step(Message(K.APPEND, 1, 2, 2, 1, 1, (Entry(2, 2), Entry(2, 3)), commit=2))
    ready = bench.node.ready()
    assert (ready.entries, ready.hard_state) == ([Entry(2, 2), Entry(2, 3)], HardState(2, 0, 2))


def test_one_ready_at_a_time() -> None:
    bench = NodeHarness()
    bench.node.campaign()
    ready = bench.node.ready()
    assert not bench.node.has_ready()
    with pytest.raises(InvariantError):
        bench.node.ready()
    bench.node.advance(ready)
    with pytest.raises(InvariantError):
        bench.node.advance(ready)


def test_over_the_bound_proposals_are_refused_until_what_waits_is_applied() -> None:
    bench = NodeHarness(max_uncommitted_bytes=10).leader_with_followers()
    bench.node.propose(b"x" * 100)  # one that is too large alone may pass
    with pytest.raises(ProposalDropped, match="too many bytes are waiting"):
        bench.node.propose(b"y")
    bench.pump()
    bench.hear(K.APPEND_REPLY, 2, index=3)
    bench.node.propose(b"y")


def test_a_transfer_waits_until_the_heir_has_everything_and_refuses_proposals_meanwhile() -> None:
    bench = NodeHarness().leader_with_followers()
    bench.node.propose(b"x")
    bench.pump()
    bench.node.transfer_leader(2)
    assert all(m.kind is not K.TIMEOUT_NOW for m in bench.pump())
    with pytest.raises(ProposalDropped, match="transferred"):
        bench.node.propose(b"y")
    assert K.TIMEOUT_NOW in {m.kind for m in bench.hear(K.APPEND_REPLY, 2, index=3) if m.to == 2}


def test_a_transfer_that_takes_too_long_is_given_up() -> None:
    bench = NodeHarness(check_quorum=False).leader_with_followers()
    bench.node.transfer_leader(3)
    bench.tick(10)
    bench.node.propose(b"x")


def test_a_learner_cannot_inherit_leadership() -> None:
    bench = NodeHarness().leader_with_followers()
    commit_change(bench, ConfChange.of(ChangeKind.ADD_LEARNER, 4))
    with pytest.raises(ProposalDropped, match="not a voter"):
        bench.node.transfer_leader(4)


def test_the_heir_campaigns_at_once_and_past_the_lease() -> None:
    bench = NodeHarness()
    bench.hear(K.HEARTBEAT, 2, term=2)
    said = bench.hear(K.TIMEOUT_NOW, 2)
    assert {(m.kind, m.term, m.context) for m in said} == {(K.VOTE, 3, b"transfer")}


def test_a_read_waits_for_a_majority_that_answers_a_later_heartbeat() -> None:
    bench = NodeHarness(5).leader_with_followers()
    bench.node.read_index(b"r")
    beats = bench.pump()
    context = beats[0].context
    bench.hear(K.HEARTBEAT_REPLY, 2, context=context)
    assert bench.state.reads.waiting
    bench.node.step(Message(K.HEARTBEAT_REPLY, 1, 3, 2, context=context))
    assert bench.node.ready().read_states == [ReadState(2, b"r")]


def test_a_read_asked_after_a_heartbeat_is_not_answered_by_that_heartbeats_replies() -> None:
    bench = NodeHarness().leader_with_followers()
    bench.node.read_index(b"first")
    bench.node.tick()
    context = next(m.context for m in bench.node._state.messages if m.kind is K.HEARTBEAT)
    bench.node.read_index(b"second")
    bench.node.step(Message(K.HEARTBEAT_REPLY, 1, 2, 2, context=context))
    assert [read.context for read in bench.node.ready().read_states] == [b"first"]


def test_a_new_leader_answers_no_read_before_it_has_committed_in_its_term() -> None:
    bench = NodeHarness(terms=(1, 1)).lead()
    bench.node.read_index(b"r")
    assert not any(m.kind is K.HEARTBEAT for m in bench.pump())
    said = bench.hear(K.APPEND_REPLY, 2, index=4)
    context = next(m.context for m in said if m.kind is K.HEARTBEAT)
    bench.node.step(Message(K.HEARTBEAT_REPLY, 1, 2, 2, context=context))
    assert bench.node.ready().read_states == [ReadState(4, b"r")]


def test_a_read_is_forgotten_with_the_leadership_that_took_it() -> None:
    bench = NodeHarness(pre_vote=False).leader_with_followers()
    bench.node.read_index(b"old")
    bench.pump()
    bench.hear(K.HEARTBEAT, 2, term=3)
    bench.tick(10)
    bench.hear(K.VOTE_REPLY, 2, term=4)
    assert bench.state.role is Role.LEADER
    assert not bench.state.reads.waiting


def test_reads_are_bounded() -> None:
    bench = NodeHarness(max_pending_reads=1).leader_with_followers()
    bench.node.read_index(b"r")
    with pytest.raises(ProposalDropped, match="too many reads"):
        bench.node.read_index(b"s")


def test_one_membership_change_at_a_time() -> None:
    bench = NodeHarness().leader_with_followers()
    bench.node.propose_conf_change(ConfChange.of(ChangeKind.ADD_LEARNER, 4))
    with pytest.raises(ConfChangeRefused, match="log index 3"):
        bench.node.propose_conf_change(ConfChange.of(ChangeKind.ADD_LEARNER, 5))


def test_a_new_leader_takes_no_membership_change_before_it_knows_of_the_last_one() -> None:
    bench = NodeHarness()
    change = ConfChange.of(ChangeKind.ADD_LEARNER, 4)
    bench.hear(K.APPEND, term=2, index=1, log_term=1, entries=(Entry(2, 2, EntryKind.CONF_CHANGE, change.encode()),))
    bench.tick(10)
    bench.lead()
    with pytest.raises(ConfChangeRefused, match="may be under way"):
        bench.node.propose_conf_change(ConfChange.of(ChangeKind.ADD_LEARNER, 5))


def test_a_smaller_membership_commits_what_the_larger_one_could_not() -> None:
    bench = NodeHarness(4).leader_with_followers()
    bench.node.propose_conf_change(ConfChange.of(ChangeKind.REMOVE, 4))
    bench.node.propose(b"x")
    bench.pump()
    bench.hear(K.APPEND_REPLY, 2, index=4)
    assert bench.state.log.committed == 2
    bench.hear(K.APPEND_REPLY, 3, index=3)
    assert bench.state.log.committed == 4


def test_a_newcomer_counts_as_alive_until_it_had_time_to_answer() -> None:
    bench = NodeHarness(1).lead()
    bench.tick(9)
    commit_change(bench, ConfChange.of(ChangeKind.ADD_VOTER, 2))
    bench.tick(1)
    assert bench.state.role is Role.LEADER
    bench.tick(10)
    assert bench.state.role is Role.FOLLOWER


def test_a_learner_does_not_count() -> None:
    bench = NodeHarness(1).lead()
    conf = commit_change(bench, ConfChange.of(ChangeKind.ADD_LEARNER, 2))
    assert conf == ConfState(voters=(1,), learners=(2,))
    bench.node.propose(b"x")
    bench.pump()
    assert bench.state.log.committed == bench.state.log.last_index()


def test_a_learner_does_not_campaign() -> None:
    bench = NodeHarness()
    bench.node.apply_conf_change(ConfChange.of(ChangeKind.ADD_LEARNER, 1))
    assert bench.tick(50) == []


def test_a_change_of_several_voters_goes_through_joint_consensus_and_leaves_by_itself() -> None:
    bench = NodeHarness().leader_with_followers()
    change = ConfChange((SingleChange(ChangeKind.ADD_VOTER, 4), SingleChange(ChangeKind.REMOVE, 3)))
    conf = commit_change(bench, change)
    assert conf == ConfState(voters=(1, 2, 4), voters_outgoing=(1, 2, 3), auto_leave=True)
    bench.pump()
    leave = bench.disk.entries(bench.disk.last_index(), bench.disk.last_index() + 1, 1)[0]
    assert ConfChange.decode(leave.data) == ConfChange()
    # 1 and 4 are a majority of the new membership only, 1 and 2 of both.
    bench.hear(K.APPEND_REPLY, 4, index=leave.index)
    assert bench.state.log.committed == leave.index - 1
    bench.hear(K.APPEND_REPLY, 2, index=leave.index)
    assert bench.state.log.committed == leave.index


def test_a_removed_leader_steps_down_when_its_removal_is_applied() -> None:
    bench = NodeHarness().leader_with_followers()
    conf = commit_change(bench, ConfChange.of(ChangeKind.REMOVE, 1))
    assert conf == ConfState(voters=(2, 3))
    assert bench.state.role is Role.FOLLOWER
    assert bench.tick(50) == []


def test_no_campaign_while_a_committed_membership_change_is_not_applied() -> None:
    bench = NodeHarness(pre_vote=False)
    change = ConfChange.of(ChangeKind.REMOVE, 3)
    bench.hear(K.APPEND, term=2, index=1, log_term=1, entries=(Entry(2, 2, EntryKind.CONF_CHANGE, change.encode()),))
    bench.node.step(Message(K.HEARTBEAT, 1, 2, 2, commit=2))
    bench.node.campaign()
    assert bench.state.role is Role.FOLLOWER


def test_a_proposal_names_the_leader_it_should_go_to() -> None:
    bench = NodeHarness()
    bench.hear(K.HEARTBEAT, 3, term=2)
    with pytest.raises(ProposalDropped) as refused:
        bench.node.propose(b"x")
    assert refused.value.leader == 3
