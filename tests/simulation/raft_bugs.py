"""Bugs planted into the world, each one that a Raft implementation or its driver has had somewhere.

They show that the laws can fail: `test_raft_planted_bugs` wants every one caught within a few seeds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from manager.raft.core import HardState, Role, replication
from manager.raft.core.log import RaftLog
from manager.raft.core.quorum import VoteResult, agreed_index, tally
from manager.raft.core.readonly import ReadQueue
from manager.raft.core.tracker import Tracker
from tests.simulation.raft_world import Weather, World

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from manager.raft.core import ConfState, Entry, RawNode, Ready
    from tests.simulation.raft_world import Host


class VoteIsNotPersisted(World):
    """A node that crashes after its vote votes once more in that term."""

    def write_steps(self, host: Host, ready: Ready) -> list[Any]:
        if ready.hard_state:
            hard = ready.hard_state
            ready = msgspec.structs.replace(ready, hard_state=HardState(hard.term, 0, hard.commit))
        return super().write_steps(host, ready)


class AcknowledgesBeforeSync(World):
    """Promises leave with the write still under way."""

    def pump(self, host: Host) -> None:
        before = host.writing
        super().pump(host)
        if host.writing and host.writing is not before:
            for message in host.writing.messages_after_sync:
                self.send(message)


class LeaderCountsUnsyncedEntries(World):
    """The leader counts itself toward a majority while its own write is still under way."""

    def pump(self, host: Host) -> None:
        super().pump(host)
        state = host.node._state
        if state.role is Role.LEADER and state.own_progress:
            state.own_progress.acknowledge(state.log.last_index())
            replication.maybe_commit(state)


class SnapshotForgetsMembership(World):
    """Snapshots carry the members of the cluster's first day."""

    def snapshot_conf(self, host: Host) -> ConfState:
        return self.hosts[1].storage.initial_state()[1]


class _Planted(World):
    """Puts a faulty part into each node."""

    def make_node(self, host: Host) -> RawNode:
        node = super().make_node(host)
        self.plant(node._state)
        return node

    def plant(self, state: Any) -> None:
        raise NotImplementedError


class _CommitsByCount(RaftLog):
    __slots__ = ()

    def maybe_commit(self, index: int, term: int) -> bool:
        return index > self.committed and self.commit_to(index)


class CommitsOldTermsByCount(_Planted):
    """An entry of an older term counts as committed once a majority has it (figure 8 of the paper)."""

    def plant(self, state: Any) -> None:
        state.log.__class__ = _CommitsByCount


class _AlwaysTruncates(RaftLog):
    __slots__ = ()

    def maybe_append(self, index: int, term: int, commit: int, entries: Sequence[Entry]) -> int | None:
        if not self.matches(index, term):
            return None
        if entries:
            self._replace_from(entries)
        last = index + len(entries)
        self.commit_to(min(commit, last))
        return last


class TruncatesCommittedEntries(_Planted):
    """A late, short append cuts off what came after it."""

    def plant(self, state: Any) -> None:
        state.log.__class__ = _AlwaysTruncates


class _AnyLogWillDo(RaftLog):
    __slots__ = ()

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:  # noqa: ARG002
        return True


class VotesForStaleLogs(_Planted):
    """Votes are given without a look at the candidate's log."""

    def plant(self, state: Any) -> None:
        state.log.__class__ = _AnyLogWillDo


class _OneHalf(Tracker):
    __slots__ = ()

    def committed_index(self) -> int:
        return agreed_index(self.conf.voters, self._match)

    def tally(self, votes: Mapping[int, bool]) -> VoteResult:
        return tally(self.conf.voters, votes)


class JointCountsOneHalf(_Planted):
    """While joint, only the new voters decide."""

    def plant(self, state: Any) -> None:
        state.tracker.__class__ = _OneHalf


class _OneAnswerWillDo(ReadQueue):
    __slots__ = ()

    def acknowledge(self, peer: int, context: bytes) -> dict[int, int]:
        super().acknowledge(peer, context)
        return dict.fromkeys(range(1, 20), self._round)


class ReadsWithoutQuorum(_Planted):
    """A read is answered after any one heartbeat reply."""

    def plant(self, state: Any) -> None:
        state.reads.__class__ = _OneAnswerWillDo


CLEAR = Weather(
    drop=0.0,
    duplicate=0.0,
    delay=5,
    sync=3,
    propose=10,
    crash=0,
    down=30,
    partition=0,
    change=0,
    transfer=0,
    compact=0,
    read=0,
    message_bytes=1 << 20,
    window=16,
    pre_vote=False,
    check_quorum=False,
    election_tick=4,
)
FIGURE_8 = replace(CLEAR, drop=0.1, delay=25, propose=4, crash=80, down=50, partition=60, message_bytes=1, window=1)


class Planted(NamedTuple):
    bug: type[World]
    size: int
    weather: Weather
    """The hazards that this bug waits for; the world draws the rest."""
    laws: tuple[str, ...]
    """Those that may be the first to show it."""


PLANTED = (
    Planted(VoteIsNotPersisted, 5, replace(CLEAR, crash=60, down=10, delay=30), ("one vote a term",)),
    Planted(CommitsOldTermsByCount, 3, FIGURE_8, ("leader completeness",)),
    Planted(AcknowledgesBeforeSync, 3, replace(CLEAR, sync=60, crash=100), ("durable majority",)),
    Planted(LeaderCountsUnsyncedEntries, 3, replace(CLEAR, sync=60), ("durable majority",)),
    Planted(SnapshotForgetsMembership, 3, replace(CLEAR, change=100, compact=50, crash=200), ("one membership",)),
    Planted(
        TruncatesCommittedEntries, 3, replace(CLEAR, duplicate=0.2, delay=40), ("durable majority", "its log ends at")
    ),
    Planted(VotesForStaleLogs, 3, replace(CLEAR, drop=0.1, partition=100), ("leader completeness",)),
    Planted(JointCountsOneHalf, 5, replace(CLEAR, change=80, partition=150, delay=20), ("durable majority",)),
    Planted(ReadsWithoutQuorum, 5, replace(CLEAR, partition=150, read=5), ("linearizable reads",)),
)
