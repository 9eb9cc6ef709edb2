"""ReadIndex: linearizable reads without a log entry, confirmed by a quorum and never by a clock (thesis, section 6.4).

Invariant: a read is answered with an index that covers every write acknowledged before the read was requested.
"""

from __future__ import annotations

from manager.raft.core.errors import ProposalDropped
from manager.raft.core.state import RaftState
from manager.raft.core.types import NO_PEER, Message, MessageKind, ReadState, Role


def request(state: RaftState, context: bytes) -> None:
    """Requests a read for this node. Raises ProposalDropped without a leader or if too many reads are waiting."""
    if state.role is Role.LEADER:
        if state.reads.full:
            raise ProposalDropped("too many reads are waiting", state.leader)
        _take(state, state.id, context)
    elif state.leader == NO_PEER:
        raise ProposalDropped("there is no leader now")
    else:
        state.send_after_sync(
            Message(MessageKind.READ_INDEX, state.leader, state.id, state.term, context=context),
        )


def handle_request(state: RaftState, message: Message) -> None:
    """Handles a follower's read. Over the limit it is dropped, and the follower repeats it."""
    if not state.reads.full:
        _take(state, message.from_, message.context)


def handle_reply(state: RaftState, message: Message) -> None:
    state.read_states.append(ReadState(message.index, message.context))


def committed_in_term(state: RaftState) -> bool:
    """Whether this leader knows the true commit index, which is the case after the first commit of its term."""
    return state.log.matches(state.log.committed, state.term)


def release_postponed(state: RaftState) -> None:
    """An entry of this term is committed: starts the reads that waited for that."""
    for reader, context in state.reads.take_postponed():
        _take(state, reader, context)


def handle_acknowledgement(state: RaftState, message: Message) -> None:
    """A peer answered a heartbeat, so it still follows this leader."""
    if not state.reads.waiting:
        return
    state.reads.acknowledge_self(state.id)
    agreed = state.tracker.acked_by_quorum(state.reads.acknowledge(message.from_, message.context))
    for read in state.reads.take_confirmed(agreed):
        _answer(state, read.reader, read.index, read.context)


def _take(state: RaftState, reader: int, context: bytes) -> None:
    if not committed_in_term(state):
        state.reads.postpone(reader, context)
    elif state.tracker.is_singleton(state.id):
        _answer(state, reader, state.log.committed, context)
    else:
        state.reads.add(reader, context, state.log.committed)


def _answer(state: RaftState, reader: int, index: int, context: bytes) -> None:
    if reader == state.id:
        state.read_states.append(ReadState(index, context))
    else:
        state.send(
            Message(MessageKind.READ_INDEX_REPLY, reader, state.id, state.term, index=index, context=context),
        )
