"""Progress tracker: the current configuration and, on a leader, the progress of every member; answers quorum questions.

Invariant: there is one Progress for each id in the configuration and for no other. The dict is sorted by id, so
iterating over it sends messages in the same order in every run.
"""

from __future__ import annotations

from collections.abc import Mapping

from manager.raft.core import quorum
from manager.raft.core.progress import InflightLimits, Progress
from manager.raft.core.types import ConfState


class ProgressTracker:
    """The members as of the last applied configuration change."""

    __slots__ = ("_window", "conf", "progress")

    def __init__(self, conf: ConfState, *, window: InflightLimits) -> None:
        self._window = window
        self.conf = conf
        self.progress: dict[int, Progress] = {}
        self.set_conf(conf, next_index=1)

    def set_conf(self, conf: ConfState, *, next_index: int) -> None:
        """Adopts a configuration; members that stay keep their progress."""
        learners = {*conf.learners, *conf.learners_next}
        voters = {*conf.voters, *conf.voters_outgoing}
        known = self.progress
        self.conf = conf
        self.progress = {}
        for peer in sorted(voters | learners):
            progress = known.get(peer)
            if progress is None:
                progress = Progress(next_index=next_index, window=self._window)
                progress.recent_active = True  # a new member had no chance to answer yet
            progress.is_learner = peer not in voters
            self.progress[peer] = progress

    def reset(self, *, next_index: int) -> None:
        """Discards all progress at the start of a term."""
        self.progress = {
            peer: Progress(next_index=next_index, window=self._window, is_learner=old.is_learner)
            for peer, old in self.progress.items()
        }

    def is_voter(self, peer: int) -> bool:
        return peer in self.conf.voters or peer in self.conf.voters_outgoing

    def voters(self) -> list[int]:
        """All voters, sorted; those of both configurations while joint."""
        return [peer for peer, progress in self.progress.items() if not progress.is_learner]

    def is_singleton(self, peer: int) -> bool:
        """Whether `peer` is the only voter."""
        return self.voters() == [peer]

    def committed_index(self) -> int:
        """The highest index durable on a quorum."""
        return quorum.joint_agreed_index(self.conf.voters, self.conf.voters_outgoing, self._match)

    def _match(self, peer: int) -> int:
        return self.progress[peer].match

    def acked_by_quorum(self, acked: Mapping[int, int]) -> int:
        """The highest number that a quorum acknowledged; 0 for members without an answer."""
        return quorum.joint_agreed_index(
            self.conf.voters,
            self.conf.voters_outgoing,
            lambda peer: acked.get(peer, 0),
        )

    def tally(self, votes: Mapping[int, bool]) -> quorum.VoteResult:
        return quorum.joint_tally(self.conf.voters, self.conf.voters_outgoing, votes)

    def quorum_active(self, own: int) -> bool:
        """Whether a quorum was heard from since the last call; starts the next period."""
        votes = {}
        for peer, progress in self.progress.items():
            votes[peer] = progress.recent_active or peer == own
            progress.recent_active = False
        return self.tally(votes) is quorum.VoteResult.WON
