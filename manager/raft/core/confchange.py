"""Configuration changes: computes the next ConfState from a ConfState and a ConfChange, or refuses the change.

Invariant (thesis, section 4): a change affects at most one voter, or goes through joint consensus, in which every
decision needs both majorities. A node is never voter and learner at once: a voter that becomes a learner waits in
`learners_next` while the outgoing configuration still counts its vote. Pure. Called by the leader before it proposes
a change and by every node when it applies one.
"""

from __future__ import annotations

from manager.raft.core.errors import ConfChangeRefused
from manager.raft.core.types import ChangeKind, ConfChange, ConfState, SingleChange, Transition


def plan(conf: ConfState, change: ConfChange) -> ConfState:
    """The configuration after the change. Raises ConfChangeRefused."""
    if not change.changes:
        return _leave_joint(conf)
    after = _apply(conf, change.changes)
    moved = set(conf.voters) ^ set(after.voters)
    if change.transition is Transition.AUTO and len(moved) <= 1:
        return _simple(conf, after)
    return _enter_joint(conf, change)


def _simple(conf: ConfState, after: ConfState) -> ConfState:
    if conf.voters_outgoing:
        raise ConfChangeRefused("membership is in joint consensus; it must be left before the next change")
    return after


def _enter_joint(conf: ConfState, change: ConfChange) -> ConfState:
    if conf.voters_outgoing:
        raise ConfChangeRefused("membership is in joint consensus already; it must be left before the next change")
    if not conf.voters:
        raise ConfChangeRefused("a membership without voters cannot enter joint consensus")
    joint = ConfState(conf.voters, conf.learners, conf.voters, (), change.transition is not Transition.JOINT_EXPLICIT)
    return _apply(joint, change.changes)


def _leave_joint(conf: ConfState) -> ConfState:
    if not conf.voters_outgoing:
        raise ConfChangeRefused("membership is not in joint consensus; there is nothing to leave")
    return ConfState(conf.voters, tuple(sorted({*conf.learners, *conf.learners_next})))


def _apply(conf: ConfState, changes: tuple[SingleChange, ...]) -> ConfState:
    voters, learners, learners_next = set(conf.voters), set(conf.learners), set(conf.learners_next)
    for change in changes:
        node = change.node
        if node == 0:
            raise ConfChangeRefused("0 is not a valid raft id")
        if change.kind is ChangeKind.ADD_LEARNER and node in learners | learners_next:
            continue
        voters.discard(node)
        learners.discard(node)
        learners_next.discard(node)
        if change.kind is ChangeKind.ADD_VOTER:
            voters.add(node)
        elif change.kind is ChangeKind.ADD_LEARNER:
            (learners_next if node in conf.voters_outgoing else learners).add(node)
    if not voters:
        raise ConfChangeRefused(
            "the change would remove the last voter; the cluster could not commit anything any more"
        )
    return ConfState(
        tuple(sorted(voters)),
        tuple(sorted(learners)),
        conf.voters_outgoing,
        tuple(sorted(learners_next)),
        conf.auto_leave,
    )
