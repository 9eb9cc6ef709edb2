"""Follower side of log replication: handles appends, heartbeats and snapshots (thesis, sections 3.5 and 5).

Invariant: an acknowledgement leaves only when the acknowledged entries are durable. A snapshot replaces the log only if
it is ahead of the local commit index.
"""

from __future__ import annotations

from manager.raft.core.state import RaftState
from manager.raft.core.types import Message, MessageKind, Snapshot


def handle_append(state: RaftState, message: Message) -> None:
    _heard_leader(state, message)
    log = state.log
    if message.index < log.committed:
        _acknowledge(state, message.from_, log.committed)
        return
    last = log.maybe_append(message.index, message.log_term, message.commit, message.entries)
    if last is not None:
        _acknowledge(state, message.from_, last)
        return
    hint, hint_term = log.find_conflict_by_term(min(message.index, log.last_index()), message.log_term)
    state.send_after_sync(
        Message(
            MessageKind.APPEND_REPLY,
            message.from_,
            state.id,
            state.term,
            index=message.index,
            reject=True,
            reject_hint=hint,
            hint_term=hint_term,
        ),
    )


def handle_heartbeat(state: RaftState, message: Message) -> None:
    _heard_leader(state, message)
    state.log.commit_to(message.commit)
    state.send_after_sync(
        Message(MessageKind.HEARTBEAT_REPLY, message.from_, state.id, state.term, context=message.context),
    )


def handle_snapshot(state: RaftState, message: Message) -> None:
    _heard_leader(state, message)
    snapshot = message.snapshot or Snapshot()
    if _restore(state, snapshot):
        _acknowledge(state, message.from_, state.log.last_index())
    else:
        _acknowledge(state, message.from_, state.log.committed)


def _restore(state: RaftState, snapshot: Snapshot) -> bool:
    """Adopts the snapshot's state and configuration; False if the log needs no replacement.

    The snapshot may be older than this node's own configuration, for example the bootstrap snapshot. The log after it holds
    the rest, and until then the node does not campaign.
    """
    meta = snapshot.metadata
    if meta.index <= state.log.committed:
        return False
    if state.log.matches(meta.index, meta.term):
        state.log.commit_to(meta.index)
        return False
    state.log.restore(snapshot)
    state.tracker.set_conf(meta.conf_state, next_index=meta.index + 1)
    return True


def _heard_leader(state: RaftState, message: Message) -> None:
    if state.leader_suspected:
        state.restart_timeout()
    state.election_elapsed = 0
    state.leader = message.from_


def _acknowledge(state: RaftState, leader: int, index: int) -> None:
    state.send_after_sync(Message(MessageKind.APPEND_REPLY, leader, state.id, state.term, index=index))
