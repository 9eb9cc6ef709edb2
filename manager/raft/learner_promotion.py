"""Promotion of learners: the leader makes a learner a voter once its log has almost caught up.

Invariant: every leader promotes, so a change of leaders loses no learner. Called by the driver at each tick.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from manager.raft.core import ChangeKind, ConfChangeRefused, ProposalDropped, RawNode
from manager.raft.membership import add_change, learner_to_promote
from manager.store.consensus import Member

log = logging.getLogger(__name__)

_PERIOD_TICKS = 3


class LearnerPromoter:
    """Looks for a learner to promote once per period."""

    def __init__(self) -> None:
        self._ticks = 0

    def tick(self, node: RawNode, members: Mapping[int, Member], *, is_leader: bool) -> None:
        """Counts one tick, and proposes a promotion if one is due."""
        self._ticks += 1
        if not is_leader or self._ticks < _PERIOD_TICKS:
            return
        self._ticks = 0
        if all(member.voter for member in members.values()):
            return
        learner = learner_to_promote(node.status())
        if learner is not None and learner in members:
            try:
                node.propose_conf_change(add_change(ChangeKind.ADD_VOTER, members[learner]))
            except (ConfChangeRefused, ProposalDropped) as error:
                log.debug("raft member %x is not promoted yet: %s", learner, error)
