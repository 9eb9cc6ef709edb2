"""Leader election: pre-vote, vote requests, and the election timeout (thesis, sections 3.4, 9.6 and 4.2.3).

Invariant: a node votes once per term, only for a log at least as up to date as its own, and its vote leaves only when
it is durable; a candidate counts its own vote no earlier. A node that hears from a leader ignores other candidates.
"""

from __future__ import annotations

from manager.raft.core.quorum import VoteResult
from manager.raft.core.state import RaftState
from manager.raft.core.types import NO_PEER, Message, MessageKind, Role

CAMPAIGN_TRANSFER = b"transfer"
"""Context of a vote request that the current leader asked for: it is granted even while voters hear from that leader."""


def tick(state: RaftState) -> None:
    """One tick of a node that does not lead. After a silence it campaigns; a node that may not still learns that it has no leader."""
    state.election_elapsed += 1
    if state.election_elapsed >= state.randomized_election_timeout:
        if not state.promotable:
            state.leader = NO_PEER
        campaign(state)


def campaign(state: RaftState) -> None:
    """Starts an election, with a pre-vote if configured. No effect on a leader or on a node that may not lead."""
    if not _may_campaign(state):
        return
    if state.config.pre_vote:
        state.become_pre_candidate()
        _request_votes(state, MessageKind.PRE_VOTE, state.term + 1, b"")
    else:
        _start_election(state, b"")


def campaign_for_transfer(state: RaftState) -> None:
    """Starts an election at once because the leader asked for it: without pre-vote, and ignoring the leader's lease."""
    if _may_campaign(state):
        _start_election(state, CAMPAIGN_TRANSFER)


def _may_campaign(state: RaftState) -> bool:
    """A committed configuration change must be applied first; otherwise a majority of an outdated configuration might elect."""
    if state.role is Role.LEADER or not state.promotable:
        return False
    log = state.log
    return not log.has_conf_change(log.applied + 1, log.committed + 1, state.config.max_bytes_per_apply)


def _start_election(state: RaftState, context: bytes) -> None:
    state.become_candidate()
    _request_votes(state, MessageKind.VOTE, state.term, context)


def _request_votes(state: RaftState, kind: MessageKind, term: int, context: bytes) -> None:
    """The requests describe this node's log, so they leave only when that log is durable."""
    index, log_term = state.log.last_index(), state.log.last_term()
    for peer in state.tracker.voters():
        if peer == state.id:
            reply = MessageKind.VOTE_REPLY if kind is MessageKind.VOTE else MessageKind.PRE_VOTE_REPLY
            state.send_after_sync(Message(reply, peer, state.id, term))
        else:
            state.send_after_sync(
                Message(
                    kind,
                    peer,
                    state.id,
                    term,
                    log_term,
                    index,
                    commit=state.log.committed,
                    hint_term=state.log.committed_term(),
                    context=context,
                ),
            )


def in_lease(state: RaftState) -> bool:
    """Whether this node leads or heard from a leader within the shortest election timeout, and does not suspect that it is dead."""
    return (
        state.config.check_quorum
        and state.leader != NO_PEER
        and not state.leader_suspected
        and state.election_elapsed < state.config.election_tick
    )


def suspect_leader(state: RaftState, peer: int) -> None:
    """The connection from the leader has broken. Unless the leader is heard again, this node campaigns within a fraction of the
    election timeout. If the leader is alive, the others are in its lease and ignore the pre-vote.
    """
    if state.role is Role.FOLLOWER and state.leader == peer and state.config.pre_vote and not state.leader_suspected:
        state.leader_suspected = True
        soon = state.config.random.randint(2, max(2, state.config.election_tick // 2))
        state.randomized_election_timeout = min(state.randomized_election_timeout, state.election_elapsed + soon)


def learn_commit(state: RaftState, message: Message) -> None:
    """Adopts the commit index in an election message: what is committed is a fact in every term.

    Without this a removal can lock up. The remaining nodes have the change in their logs, do not know that it is committed, and
    still need the votes of the removed nodes, which know it, hold longer logs and no longer campaign.
    """
    if state.role is not Role.LEADER and state.log.matches(message.commit, message.hint_term):
        state.log.commit_to(message.commit)


def handle_request(state: RaftState, message: Message) -> None:
    """Handles a VOTE of this term, or a PRE_VOTE for this or a later one. The caller has handled older terms and leases."""
    pre = message.kind is MessageKind.PRE_VOTE
    free = (
        state.vote == message.from_
        or (state.vote == NO_PEER and state.leader == NO_PEER)
        or (pre and message.term > state.term)
    )
    grant = free and state.log.is_up_to_date(message.index, message.log_term)
    kind = MessageKind.PRE_VOTE_REPLY if pre else MessageKind.VOTE_REPLY
    # A granted pre-vote carries the requested term; a refusal carries this node's own term.
    term = message.term if grant else state.term
    state.send_after_sync(
        Message(
            kind,
            message.from_,
            state.id,
            term,
            commit=state.log.committed,
            reject=not grant,
            hint_term=state.log.committed_term(),
        ),
    )
    if grant and not pre:
        state.election_elapsed = 0
        state.vote = message.from_


def _asked_term(state: RaftState) -> int:
    return state.term + 1 if state.role is Role.PRE_CANDIDATE else state.term


def handle_reply(state: RaftState, message: Message) -> None:
    """Counts a vote if it belongs to the current election."""
    expected = {
        Role.PRE_CANDIDATE: MessageKind.PRE_VOTE_REPLY,
        Role.CANDIDATE: MessageKind.VOTE_REPLY,
    }.get(state.role)
    if message.kind is not expected or (not message.reject and message.term != _asked_term(state)):
        return
    state.votes.setdefault(message.from_, not message.reject)
    match state.tracker.tally(state.votes):
        case VoteResult.WON if state.role is Role.PRE_CANDIDATE:
            _start_election(state, b"")
        case VoteResult.WON:
            state.become_leader()
        case VoteResult.LOST:
            state.become_follower(state.term, NO_PEER)
            state.restart_timeout(again=True)
        case VoteResult.PENDING:
            pass
