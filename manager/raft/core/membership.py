"""Configuration change entries in the log: proposed by the leader, in effect when applied (thesis, chapter 4).

Invariant: the log holds at most one unapplied change. A leader that is no longer a voter steps down when that change is
applied.
"""

from __future__ import annotations

from manager.raft.core import confchange, replication
from manager.raft.core.errors import ConfChangeRefused
from manager.raft.core.state import RaftState
from manager.raft.core.types import NO_PEER, ConfChange, ConfState, EntryKind, Role


def propose(state: RaftState, change: ConfChange) -> None:
    """Appends a change to the leader's log. Raises ConfChangeRefused."""
    if state.pending_conf_index > state.log.applied:
        raise ConfChangeRefused(
            f"another membership change may be under way at log index {state.pending_conf_index}; "
            f"try again once it is applied (applied so far: {state.log.applied})",
        )
    confchange.plan(state.tracker.conf, change)
    state.append_own([(EntryKind.CONF_CHANGE, change.encode())])
    state.pending_conf_index = state.log.last_index()


def apply(state: RaftState, change: ConfChange) -> ConfState:
    """Puts a committed change into effect; returns the configuration after it."""
    if state.log.snapshot:
        # A snapshot arrived while the driver was applying: its configuration is later than this change.
        return state.tracker.conf
    try:
        after = confchange.plan(state.tracker.conf, change)
    except ConfChangeRefused:
        # Every node refuses it the same way, so the entry has no effect anywhere.
        return state.tracker.conf
    state.tracker.set_conf(after, next_index=max(state.log.last_index(), 1))
    if state.role is Role.LEADER:
        _after_switch(state)
    elif not state.promotable and state.role is not Role.FOLLOWER:
        state.become_follower(state.term, NO_PEER)
    return after


def leave_joint_if_due(state: RaftState) -> None:
    """Proposes to leave the joint configuration after it is applied. Called on the leader."""
    conf = state.tracker.conf
    if (
        state.role is Role.LEADER
        and conf.voters_outgoing
        and conf.auto_leave
        and state.log.applied >= state.pending_conf_index
    ):
        propose(state, ConfChange())


def _after_switch(state: RaftState) -> None:
    if not state.tracker.is_voter(state.id):
        state.become_follower(state.term, NO_PEER)
        return
    if state.transferee != NO_PEER and not state.tracker.is_voter(state.transferee):
        state.transferee = NO_PEER
    replication.maybe_commit(state)  # a smaller quorum may have entries that the larger one lacked
    state.append_pending = True  # new members are probed at once
