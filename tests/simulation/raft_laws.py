"""The laws of Raft, checked on the node that an event touched, after every event of the simulated world.

A law that holds for the touched node against what was ever seen holds for all nodes: nothing else has changed. Names are
those of the Raft paper, figure 3, and of the thesis, section 6.4 (reads) and chapter 4 (membership).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from manager.raft.core import CompactedError, ConfState, Entry, Message, MessageKind, NotInLogError, Role
from manager.raft.core.quorum import joint_agreed_index

if TYPE_CHECKING:
    from tests.simulation.raft_world import Host


class LawBrokenError(AssertionError):
    """A law of Raft does not hold."""


def require(holds: bool, law: str, detail: str) -> None:
    if not holds:
        raise LawBrokenError(f"{law}: {detail}")


def holds_entry(host: Host, entry: Entry) -> bool:
    """Whether a host's disk holds this entry, in its log or under its snapshot."""
    try:
        return host.storage.term(entry.index) == entry.term
    except CompactedError:
        return True
    except NotInLogError:
        return False


class Laws:
    """What was ever seen of all nodes, and how that must fit together."""

    def __init__(self, hosts: dict[int, Host]) -> None:
        self.hosts = hosts
        self.leaders: dict[int, int] = {}
        self.votes: dict[tuple[int, int], int] = {}
        self.entries: dict[tuple[int, int], tuple[Entry, int]] = {}
        self.committed: dict[int, Entry] = {}
        self.max_committed = 1
        self.digests: dict[int, int] = {1: 0}
        self.confs: dict[int, ConfState] = {}
        self._seen: dict[int, tuple[object, ...]] = {}
        self._seen_commit: dict[int, int] = {}

    def forget(self, host: Host) -> None:
        """The host lost its memory; what it had committed is known again only when it says so."""
        self._seen.pop(host.id, None)
        self._seen_commit.pop(host.id, None)

    def observe(self, host: Host) -> None:
        """Checks what the last event may have changed on this host."""
        state = host.node._state
        log = state.log
        now = (log._offset, log.last_index(), log.last_term(), log.committed, state.role, state.term, log.snapshot)
        if self._seen.get(host.id) == now:
            return
        self._seen[host.id] = now
        self._log_matching(host)
        self._commit(host)
        if state.role is Role.LEADER and state.term not in self.leaders:
            self._leader_completeness(host)
        if state.role is Role.LEADER:
            first = self.leaders.setdefault(state.term, host.id)
            require(first == host.id, "election safety", f"{first} and {host.id} both lead in term {state.term}")

    def _log_matching(self, host: Host) -> None:
        """An entry of one index and term is the same everywhere, and so is the one before it: then all before are."""
        log = host.node._state.log
        tail = log._tail
        if not tail:
            return
        previous_term = log.term(tail[0].index - 1) if tail[0].index > 1 else 0
        for entry in tail:
            first, first_previous = self.entries.setdefault((entry.index, entry.term), (entry, previous_term))
            require(
                first == entry and first_previous == previous_term,
                "log matching",
                f"node {host.id} holds {entry} after term {previous_term}, seen before: {first} after {first_previous}",
            )
            previous_term = entry.term

    def _commit(self, host: Host) -> None:
        state = host.node._state
        log = state.log
        before = self._seen_commit.get(host.id, 0)
        require(log.committed >= before, "commit never falls", f"node {host.id} from {before} to {log.committed}")
        self._seen_commit[host.id] = log.committed
        for index in range(max(before + 1, log.first_index()), log.committed + 1):
            (entry,) = log.slice(index, index + 1, 1)
            first = self.committed.setdefault(index, entry)
            require(first == entry, "state machine safety", f"node {host.id} committed {entry}, seen before: {first}")
        known = self.committed.get(log.committed)
        if known:
            require(
                log.matches(log.committed, known.term),
                "committed entries stay",
                f"node {host.id} at index {log.committed} no longer holds {known}",
            )
        self.max_committed = max(self.max_committed, log.committed)
        if state.role is Role.LEADER and log.committed > before > 0:
            self._durable_majority(host)

    def _durable_majority(self, leader: Host) -> None:
        """What a leader counts as committed is on the disks of a majority (of both, while joint)."""
        state = leader.node._state
        entry = self.committed.get(state.log.committed)
        if entry is None:
            return
        conf = state.tracker.conf
        agreed = joint_agreed_index(
            conf.voters,
            conf.voters_outgoing,
            lambda voter: entry.index if holds_entry(self.hosts[voter], entry) else 0,
        )
        require(agreed >= entry.index, "durable majority", f"leader {leader.id} committed {entry} without one")

    def _leader_completeness(self, leader: Host) -> None:
        """A new leader has every entry that was ever committed in an earlier term."""
        state = leader.node._state
        for index in range(state.log.first_index(), self.max_committed + 1):
            entry = self.committed.get(index)
            if entry and entry.term < state.term:
                require(
                    state.log.matches(index, entry.term),
                    "leader completeness",
                    f"node {leader.id} leads term {state.term} without the committed {entry}",
                )

    def said(self, message: Message) -> None:
        """A message left: a vote is given once a term, whatever crashes."""
        if message.kind is MessageKind.VOTE_REPLY and not message.reject:
            first = self.votes.setdefault((message.from_, message.term), message.to)
            require(
                first == message.to,
                "one vote a term",
                f"node {message.from_} voted for {first} and {message.to} in term {message.term}",
            )

    def applied(self, host: Host, entry: Entry) -> int:
        """Checks an entry that a state machine applies; the digest of the state after it."""
        require(
            entry.index == host.applied + 1,
            "applied in order",
            f"node {host.id} applies {entry.index} after {host.applied}",
        )
        digest = zlib.crc32(entry.data, host.digest)
        self._same_state(host, entry.index, digest)
        return digest

    def restored(self, host: Host, index: int, digest: int, conf: ConfState) -> None:
        self._same_state(host, index, digest)
        self.member_view(host, index, conf)

    def _same_state(self, host: Host, index: int, digest: int) -> None:
        first = self.digests.setdefault(index, digest)
        require(first == digest, "state machine safety", f"node {host.id} has another state at index {index}")

    def member_view(self, host: Host, index: int, conf: ConfState) -> None:
        """Whoever has applied up to an index sees the same members."""
        first = self.confs.setdefault(index, conf)
        require(first == conf, "one membership", f"node {host.id} sees {conf} at index {index}, seen before: {first}")

    def read(self, host: Host, index: int, asked_at: int) -> None:
        """A read covers every write that was committed when it was asked."""
        require(
            index >= asked_at, "linearizable reads", f"node {host.id} may read at {index}, committed were {asked_at}"
        )
