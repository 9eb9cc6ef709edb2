"""Storage interface for the stable log, and a storage in memory that implements it.

Invariant: the core only reads the storage. The driver writes to it after the same data is durable. `MemoryStorage` holds
the driver's copy of the log; the write-ahead log stands behind it. The simulation uses it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from manager.raft.core.errors import CompactedError, InvariantError, NotInLogError, SnapshotUnavailableError
from manager.raft.core.types import (
    ENTRY_OVERHEAD_BYTES,
    ConfState,
    Entry,
    HardState,
    Snapshot,
    SnapshotMeta,
)


class Storage(Protocol):
    """Read access to stable data. Indexes run from `first_index()` to `last_index()`, both included."""

    def initial_state(self) -> tuple[HardState, ConfState]:
        """The hard state, and the configuration as of the latest snapshot."""
        ...

    def entries(self, lo: int, hi: int, max_bytes: int) -> Sequence[Entry]:
        """The entries from lo to hi-1, within max_bytes except for the first. Raises CompactedError."""
        ...

    def term(self, index: int) -> int:
        """The term of an entry, also of first_index()-1. Raises CompactedError, NotInLogError."""
        ...

    def last_index(self) -> int:
        """The last index, or first_index()-1 if the log is empty."""
        ...

    def first_index(self) -> int:
        """The first index that is not compacted."""
        ...

    def snapshot(self) -> Snapshot:
        """The latest snapshot. Raises SnapshotUnavailableError if there is none."""
        ...


def bootstrap_snapshot(voters: Sequence[int], data: bytes = b"") -> Snapshot:
    """The initial snapshot of a cluster. It holds the first configuration, so a node that joins later receives it with the log."""
    return Snapshot(SnapshotMeta(index=1, term=1, conf_state=ConfState(voters=tuple(sorted(voters)))), data)


class MemoryStorage:
    """A log in memory: the entries above a compacted base, and the latest snapshot."""

    __slots__ = ("_base_index", "_base_term", "_entries", "_hard_state", "_snapshot")

    def __init__(self) -> None:
        self._hard_state = HardState()
        self._snapshot = Snapshot()
        self._base_index = 0
        self._base_term = 0
        self._entries: list[Entry] = []

    def initial_state(self) -> tuple[HardState, ConfState]:
        return self._hard_state, self._snapshot.metadata.conf_state

    def first_index(self) -> int:
        return self._base_index + 1

    def last_index(self) -> int:
        return self._base_index + len(self._entries)

    def term(self, index: int) -> int:
        if index < self._base_index:
            raise CompactedError(index)
        if index == self._base_index:
            return self._base_term
        if index > self.last_index():
            raise NotInLogError(index)
        return self._entries[index - self._base_index - 1].term

    def entries(self, lo: int, hi: int, max_bytes: int) -> list[Entry]:
        if lo <= self._base_index:
            raise CompactedError(lo)
        if hi > self.last_index() + 1:
            raise NotInLogError(hi - 1)
        first = self._base_index + 1
        return self._entries[lo - first : lo - first + count_within(self._entries, lo - first, hi - first, max_bytes)]

    def first_index_within(self, last: int, max_bytes: int) -> int:
        """The first index from which the entries up to ``last`` fit into max_bytes; last + 1 if not even that one fits."""
        size = 0
        for position in range(last - self._base_index - 1, -1, -1):
            size += len(self._entries[position].data) + ENTRY_OVERHEAD_BYTES
            if size > max_bytes:
                return self._base_index + position + 2
        return min(self._base_index, last) + 1

    def snapshot(self) -> Snapshot:
        if self._snapshot.metadata.index == 0:
            raise SnapshotUnavailableError("no snapshot has been taken yet")
        return self._snapshot

    @property
    def snapshot_index(self) -> int:
        """The index of the latest snapshot, 0 if there is none."""
        return self._snapshot.metadata.index

    def set_hard_state(self, hard_state: HardState) -> None:
        self._hard_state = hard_state

    def append(self, entries: Sequence[Entry]) -> None:
        """Appends entries and replaces those from the first one's index on."""
        if not entries:
            return
        first = entries[0].index
        if first > self.last_index() + 1:
            raise InvariantError(f"log would have a gap between index {self.last_index()} and {first}")
        if first <= self._base_index:
            entries = entries[self._base_index - first + 1 :]
            first = self._base_index + 1
        if not entries:
            return
        del self._entries[first - self._base_index - 1 :]
        self._entries.extend(entries)

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        """Replaces the whole log by a snapshot from the leader, or by the bootstrap snapshot."""
        if snapshot.metadata.index <= self._snapshot.metadata.index:
            return
        self._snapshot = snapshot
        self._base_index = snapshot.metadata.index
        self._base_term = snapshot.metadata.term
        self._entries = []

    def create_snapshot(self, index: int, conf_state: ConfState, data: bytes) -> Snapshot:
        """Records a snapshot at an applied index; the entries stay until `compact`."""
        if index <= self._snapshot.metadata.index:
            raise CompactedError(index)
        self._snapshot = Snapshot(SnapshotMeta(index, self.term(index), conf_state), data)
        return self._snapshot

    def compact(self, index: int) -> None:
        """Removes entries up to `index`, which a snapshot must cover; the caller keeps some for slow followers."""
        if index > self._snapshot.metadata.index:
            raise InvariantError(f"index {index} is above the snapshot at {self._snapshot.metadata.index}")
        if index <= self._base_index:
            return
        self._base_term = self.term(index)
        del self._entries[: index - self._base_index]
        self._base_index = index


def count_within(entries: Sequence[Entry], start: int, stop: int, max_bytes: int) -> int:
    """The number of entries of [start, stop) that fit into max_bytes; at least one if there is one."""
    size = 0
    for position in range(start, stop):
        size += len(entries[position].data) + ENTRY_OVERHEAD_BYTES
        if size > max_bytes and position > start:
            return position - start
    return max(0, stop - start)
