"""Message and tick dispatch: checks the message's term, then calls the handler of the node's role.

Invariant (thesis, section 3.3): a node that sees a higher term adopts it and becomes a follower. A message of a lower term
has no effect except a reply that carries the higher one.
"""

from __future__ import annotations

from collections.abc import Callable

from manager.raft.core import election, follower, read_index, replication
from manager.raft.core.errors import InvariantError, ProposalDropped
from manager.raft.core.state import RaftState
from manager.raft.core.types import NO_PEER, Message, MessageKind, Role

_Handler = Callable[[RaftState, Message], None]


def tick(state: RaftState) -> None:
    """One tick, for the role of the node."""
    if state.role is Role.LEADER:
        replication.tick(state)
    else:
        election.tick(state)


def step(state: RaftState, message: Message) -> None:
    """Processes one message: term first, then the handler of the role."""
    if message.kind in _ELECTION:
        election.learn_commit(state, message)
    if message.term > state.term:
        if not _handle_higher_term(state, message):
            return
    elif message.term < state.term:
        _handle_lower_term(state, message)
        return
    if message.kind in _VOTE_REQUESTS:
        election.handle_request(state, message)
        return
    handler = _HANDLERS[state.role].get(message.kind)
    if handler:
        handler(state, message)


def _handle_higher_term(state: RaftState, message: Message) -> bool:
    """Whether to process the message further."""
    if message.kind in _VOTE_REQUESTS and message.context != election.CAMPAIGN_TRANSFER and election.in_lease(state):
        return False
    if message.kind is MessageKind.PRE_VOTE:
        return True  # a pre-vote does not start a term
    if message.kind is MessageKind.PRE_VOTE_REPLY and not message.reject:
        return True  # the requested term, which has not started
    state.become_follower(message.term, message.from_ if message.kind in _FROM_LEADER else NO_PEER)
    return True


def _handle_lower_term(state: RaftState, message: Message) -> None:
    """Tells a leader of an older term about this one; otherwise a node with pre-vote that returns could remain stuck."""
    if message.kind in _FROM_LEADER and (state.config.check_quorum or state.config.pre_vote):
        reply = MessageKind.APPEND_REPLY
    elif message.kind is MessageKind.PRE_VOTE:
        reply = MessageKind.PRE_VOTE_REPLY
    else:
        return
    state.send_after_sync(
        Message(reply, message.from_, state.id, state.term, reject=reply is MessageKind.PRE_VOTE_REPLY),
    )


def transfer_leader(state: RaftState, to: int) -> None:
    """Asks for `to` to lead. Raises ProposalDropped if nobody leads or `to` is no voter (thesis, section 3.10)."""
    if state.role is not Role.LEADER:
        if state.leader == NO_PEER:
            raise ProposalDropped("there is no leader now")
        state.send_after_sync(Message(MessageKind.TRANSFER_LEADER, state.leader, state.id, state.term, index=to))
        return
    if to == state.id:
        state.transferee = NO_PEER
        return
    progress = state.tracker.progress.get(to)
    if progress is None or progress.is_learner:
        raise ProposalDropped(f"raft node {to:x} is not a voter and cannot lead", state.leader)
    if to == state.transferee:
        return
    state.transferee = to
    state.election_elapsed = 0
    if progress.match == state.log.last_index():
        replication.send_timeout_now(state, to)
    else:
        state.append_pending = True


def _handle_transfer(state: RaftState, message: Message) -> None:
    try:
        transfer_leader(state, message.index)
    except ProposalDropped:
        return  # the requesting node sees that the leader stays


def _accept_leader_then(handler: _Handler) -> _Handler:
    """A candidate that hears from the leader of its term follows it."""

    def follow(state: RaftState, message: Message) -> None:
        state.become_follower(message.term, message.from_)
        handler(state, message)

    return follow


def _two_leaders(state: RaftState, message: Message) -> None:
    raise InvariantError(
        f"raft nodes {state.id:x} and {message.from_:x} both lead in term {state.term}: "
        "two nodes share an id, or one of them lost its disk but kept its id",
    )


def _timeout_now(state: RaftState, _: Message) -> None:
    election.campaign_for_transfer(state)


_VOTE_REQUESTS = frozenset({MessageKind.VOTE, MessageKind.PRE_VOTE})
_ELECTION = _VOTE_REQUESTS | {MessageKind.VOTE_REPLY, MessageKind.PRE_VOTE_REPLY}
_FROM_LEADER = frozenset({MessageKind.APPEND, MessageKind.HEARTBEAT, MessageKind.SNAPSHOT})

_FOLLOWER: dict[MessageKind, _Handler] = {
    MessageKind.APPEND: follower.handle_append,
    MessageKind.HEARTBEAT: follower.handle_heartbeat,
    MessageKind.SNAPSHOT: follower.handle_snapshot,
    MessageKind.TIMEOUT_NOW: _timeout_now,
    MessageKind.READ_INDEX_REPLY: read_index.handle_reply,
}
_CANDIDATE: dict[MessageKind, _Handler] = {
    MessageKind.APPEND: _accept_leader_then(follower.handle_append),
    MessageKind.HEARTBEAT: _accept_leader_then(follower.handle_heartbeat),
    MessageKind.SNAPSHOT: _accept_leader_then(follower.handle_snapshot),
    MessageKind.VOTE_REPLY: election.handle_reply,
    MessageKind.PRE_VOTE_REPLY: election.handle_reply,
}
_LEADER: dict[MessageKind, _Handler] = {
    MessageKind.APPEND: _two_leaders,
    MessageKind.HEARTBEAT: _two_leaders,
    MessageKind.SNAPSHOT: _two_leaders,
    MessageKind.APPEND_REPLY: replication.handle_append_reply,
    MessageKind.HEARTBEAT_REPLY: replication.handle_heartbeat_reply,
    MessageKind.READ_INDEX: read_index.handle_request,
    MessageKind.TRANSFER_LEADER: _handle_transfer,
}
_HANDLERS = {
    Role.FOLLOWER: _FOLLOWER,
    Role.PRE_CANDIDATE: _CANDIDATE,
    Role.CANDIDATE: _CANDIDATE,
    Role.LEADER: _LEADER,
}
