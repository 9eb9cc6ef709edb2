"""Leader side of log replication: appends, acknowledgements, heartbeats, commit (thesis, sections 3.5, 3.6 and 10.2.1).

Invariant: appends are collected and sent by `flush`, so proposals between two `Ready`s travel together. Only an entry of
the leader's own term is committed by counting replicas. Unacknowledged appends to a peer are bounded in number and bytes.
"""

from __future__ import annotations

from manager.raft.core import read_index
from manager.raft.core.errors import CompactedError, SnapshotUnavailableError
from manager.raft.core.progress import Progress, ProgressState
from manager.raft.core.state import RaftState
from manager.raft.core.types import NO_PEER, Message, MessageKind, Role, entry_bytes


def tick(state: RaftState) -> None:
    """One tick of a leader."""
    state.heartbeat_elapsed += 1
    state.election_elapsed += 1
    if state.election_elapsed >= state.config.election_tick:
        state.election_elapsed = 0
        if state.config.check_quorum and not state.tracker.quorum_active(state.id):
            state.become_follower(state.term, NO_PEER)
            return
        state.transferee = NO_PEER  # the transfer timed out: accept proposals again
    if state.heartbeat_elapsed >= state.config.heartbeat_tick:
        state.heartbeat_elapsed = 0
        send_heartbeats(state)


def flush(state: RaftState) -> None:
    """Creates the messages that became due since the last call."""
    if state.role is not Role.LEADER:
        return
    if state.append_pending:
        state.append_pending = False
        for peer, progress in state.tracker.progress.items():
            if peer != state.id:
                _send_due(state, peer, progress)
    if state.reads.unsent:
        send_heartbeats(state)


def _send_due(state: RaftState, peer: int, progress: Progress) -> None:
    """Streams entries while the window allows it; without entries it sends a newer commit index alone."""
    tell_commit = progress.sent_commit < state.log.committed
    while send_append(state, peer, progress, even_empty=tell_commit):
        tell_commit = False


def send_append(state: RaftState, peer: int, progress: Progress, *, even_empty: bool) -> bool:
    """Sends one append, or a snapshot instead if entries are compacted. Returns whether something was sent."""
    if progress.paused:
        return False
    log = state.log
    previous, last = progress.next - 1, log.last_index()
    if previous >= last and not even_empty:
        return False
    try:
        previous_term = log.term(previous)
        entries = tuple(log.slice(progress.next, last + 1, state.config.max_bytes_per_message))
    except CompactedError:
        return _send_snapshot(state, peer, progress)
    state.send(
        Message(MessageKind.APPEND, peer, state.id, state.term, previous_term, previous, entries, log.committed),
    )
    progress.record_sent(previous + len(entries), sum(map(entry_bytes, entries)), log.committed)
    return True


def _send_snapshot(state: RaftState, peer: int, progress: Progress) -> bool:
    if not progress.recent_active:
        return False  # a snapshot is expensive: only for a peer that answers
    try:
        snapshot = state.log.latest_snapshot()
    except SnapshotUnavailableError:
        return False
    state.send(Message(MessageKind.SNAPSHOT, peer, state.id, state.term, snapshot=snapshot))
    progress.become_snapshot(snapshot.metadata.index)
    return True


def send_heartbeats(state: RaftState) -> None:
    """Sends a heartbeat to every peer; `commit` never exceeds what that peer is known to hold."""
    context = state.reads.heartbeat_context
    state.reads.unsent = False
    for peer, progress in state.tracker.progress.items():
        if peer != state.id:
            commit = min(progress.match, state.log.committed)
            state.send(
                Message(MessageKind.HEARTBEAT, peer, state.id, state.term, commit=commit, context=context),
            )


def acknowledge_own(state: RaftState) -> None:
    """Counts the leader's own entries that became stable."""
    own = state.own_progress
    if own and own.maybe_update(state.log.stable_index):
        maybe_commit(state)


def maybe_commit(state: RaftState) -> bool:
    """Commits what a quorum holds; returns whether the commit index rose."""
    if not state.log.maybe_commit(state.tracker.committed_index(), state.term):
        return False
    state.append_pending = True
    read_index.release_postponed(state)
    return True


def handle_append_reply(state: RaftState, message: Message) -> None:
    progress = state.tracker.progress.get(message.from_)
    if progress is None:
        return
    progress.recent_active = True
    if message.reject:
        _handle_rejection(state, message, progress)
        return
    was_paused = progress.paused
    news = progress.maybe_update(message.index)
    agrees = progress.state is ProgressState.PROBE and progress.match == message.index
    caught_up = progress.state is ProgressState.SNAPSHOT and progress.match + 1 >= state.log.first_index()
    if agrees or caught_up:
        progress.become_replicate()
    if news:
        maybe_commit(state)
    if was_paused or progress.next <= state.log.last_index() or progress.sent_commit < state.log.committed:
        state.append_pending = True
    if message.from_ == state.transferee and progress.match == state.log.last_index():
        send_timeout_now(state, message.from_)


def _handle_rejection(state: RaftState, message: Message, progress: Progress) -> None:
    hint = message.reject_hint
    if message.hint_term > 0:
        hint, _ = state.log.find_conflict_by_term(hint, message.hint_term)
    if progress.maybe_decrement(message.index, hint):
        if progress.state is ProgressState.REPLICATE:
            progress.become_probe()
        send_append(state, message.from_, progress, even_empty=True)


def handle_heartbeat_reply(state: RaftState, message: Message) -> None:
    """Also detects lost appends: a peer that is behind gets one more append, empty if necessary, and rejects it if it has a gap."""
    progress = state.tracker.progress.get(message.from_)
    if progress is None:
        return
    progress.recent_active = True
    progress.probe_sent = False
    if progress.state is ProgressState.REPLICATE:
        progress.free_first_inflight()
    if progress.match < state.log.last_index() or progress.state is ProgressState.PROBE:
        send_append(state, message.from_, progress, even_empty=True)
    read_index.handle_acknowledgement(state, message)


def report_unreachable(state: RaftState, peer: int) -> None:
    """The transport lost a message to the peer: probes what the peer has before more is sent."""
    progress = state.tracker.progress.get(peer)
    if state.role is Role.LEADER and progress and progress.state is ProgressState.REPLICATE:
        progress.become_probe()


def report_snapshot(state: RaftState, peer: int, *, ok: bool) -> None:
    """The transfer of a snapshot ended; appends continue with the next heartbeat reply."""
    progress = state.tracker.progress.get(peer)
    if state.role is Role.LEADER and progress and progress.state is ProgressState.SNAPSHOT:
        if not ok:
            progress.pending_snapshot = 0
        progress.become_probe()
        progress.probe_sent = True


def send_timeout_now(state: RaftState, peer: int) -> None:
    """Tells the transfer target to campaign at once."""
    state.send(Message(MessageKind.TIMEOUT_NOW, peer, state.id, state.term))
