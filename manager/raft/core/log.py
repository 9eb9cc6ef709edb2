"""The Raft log: stable entries from the storage, followed by unstable entries that are not yet known to be durable.

Invariant: `applied <= committed <= last_index`. An entry at or below `committed` is never replaced. Only stable entries
are handed out to be applied. An unstable entry becomes stable when the driver reports that very entry (index and
term), so an entry that was replaced during its write stays unstable and is written again.
"""

from __future__ import annotations

from collections.abc import Sequence

from manager.raft.core.errors import CompactedError, DataLossError, InvariantError, NotInLogError
from manager.raft.core.storage import Storage, count_within
from manager.raft.core.types import Entry, EntryKind, Snapshot, entry_bytes


class RaftLog:
    """Indexes start at 1; `_offset` is the index of the first unstable entry."""

    __slots__ = ("_offset", "_storage", "_tail", "applied", "committed", "snapshot")

    def __init__(self, storage: Storage, *, committed: int = 0, applied: int = 0) -> None:
        base = storage.first_index() - 1
        self._storage = storage
        self._offset = storage.last_index() + 1
        self._tail: list[Entry] = []
        self.snapshot: Snapshot | None = None
        """A snapshot from the leader that is not durable yet."""
        self.committed = max(committed, base)
        self.applied = max(applied, base)
        if self.committed > self.last_index():
            raise DataLossError(self.committed, self.last_index())
        if self.applied > self.committed:
            raise InvariantError(f"applied index {self.applied} is beyond the committed index {self.committed}")

    def first_index(self) -> int:
        return self.snapshot.metadata.index + 1 if self.snapshot else self._storage.first_index()

    def last_index(self) -> int:
        return self._offset + len(self._tail) - 1

    def last_term(self) -> int:
        return self.term(self.last_index())

    def committed_term(self) -> int:
        return self.term(self.committed)

    @property
    def stable_index(self) -> int:
        """The last index that the driver reported as durable; a pending snapshot comes before it."""
        return self._offset - 1

    def unstable(self) -> list[Entry]:
        """The entries that the driver has to write."""
        return self._tail[:]

    def latest_snapshot(self) -> Snapshot:
        """The snapshot to send to a peer that needs compacted entries. Raises SnapshotUnavailableError."""
        return self.snapshot or self._storage.snapshot()

    def has_unstable(self) -> bool:
        return bool(self._tail)

    def term(self, index: int) -> int:
        """The term of an entry. Raises CompactedError, NotInLogError."""
        if index >= self._offset:
            if index > self.last_index():
                raise NotInLogError(index)
            return self._tail[index - self._offset].term
        if self.snapshot:
            if index < self.snapshot.metadata.index:
                raise CompactedError(index)
            return self.snapshot.metadata.term
        return self._storage.term(index)

    def matches(self, index: int, term: int) -> bool:
        """Whether the log holds the entry with this index and term."""
        try:
            return self.term(index) == term
        except (CompactedError, NotInLogError):
            return False

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a log with this last entry is at least as up to date as this one (thesis, section 3.6.1)."""
        own = self.last_term()
        return last_term > own or (last_term == own and last_index >= self.last_index())

    def append(self, entries: Sequence[Entry]) -> None:
        """Appends a leader's own entries."""
        self._tail.extend(entries)

    def maybe_append(self, index: int, term: int, commit: int, entries: Sequence[Entry]) -> int | None:
        """Appends a leader's entries after (index, term). Returns the last index they reach, or None if that entry is missing."""
        if not self.matches(index, term):
            return None
        last = index + len(entries)
        start = self._first_conflict(entries)
        if start < len(entries):
            if entries[start].index <= self.committed:
                raise InvariantError(
                    f"entry {entries[start].index} of term {entries[start].term} conflicts with a committed entry "
                    f"(committed up to {self.committed})",
                )
            self._replace_from(entries[start:])
        self.commit_to(min(commit, last))
        return last

    def _first_conflict(self, entries: Sequence[Entry]) -> int:
        """The position of the first entry that the log lacks or holds with a different term."""
        last = self.last_index()
        for position, entry in enumerate(entries):
            if entry.index > last or not self.matches(entry.index, entry.term):
                return position
        return len(entries)

    def _replace_from(self, entries: Sequence[Entry]) -> None:
        first = entries[0].index
        if first <= self._offset:
            self._offset = first
            self._tail = list(entries)
            return
        del self._tail[first - self._offset :]
        self._tail.extend(entries)

    def commit_to(self, index: int) -> bool:
        """Raises the commit index; returns whether it rose."""
        if index <= self.committed:
            return False
        if index > self.last_index():
            raise DataLossError(index, self.last_index())
        self.committed = index
        return True

    def maybe_commit(self, index: int, term: int) -> bool:
        """Commits up to `index` if that entry is of `term`; entries of older terms are committed only along with it (section 3.6.2)."""
        return index > self.committed and self.matches(index, term) and self.commit_to(index)

    def restore(self, snapshot: Snapshot) -> None:
        """Replaces the whole log by a snapshot."""
        index = snapshot.metadata.index
        self.snapshot = snapshot
        self._tail = []
        self._offset = index + 1
        self.committed = index

    def stable_to(self, index: int, term: int) -> None:
        """The driver made this entry and all before it durable. No effect if the entry was replaced meanwhile."""
        if self.snapshot:
            return  # the pending snapshot will replace what was written
        position = index - self._offset
        if 0 <= position < len(self._tail) and self._tail[position].term == term:
            del self._tail[: position + 1]
            self._offset = index + 1

    def snapshot_stable(self, index: int) -> None:
        """The driver made the snapshot durable and restored it."""
        if self.snapshot and self.snapshot.metadata.index == index:
            self.snapshot = None
        self.applied = max(self.applied, index)

    def applied_to(self, index: int) -> None:
        self.applied = max(self.applied, index)

    def _applicable(self) -> int:
        return self.applied if self.snapshot else min(self.committed, self.stable_index)

    def has_next_committed(self) -> bool:
        return self._applicable() > self.applied

    def next_committed(self, max_bytes: int) -> list[Entry]:
        """Entries that are stable and committed but not applied; none while a snapshot is pending, because it comes first."""
        end = self._applicable()
        return self.slice(self.applied + 1, end + 1, max_bytes) if end > self.applied else []

    def slice(self, lo: int, hi: int, max_bytes: int) -> list[Entry]:
        """The entries from lo to hi-1, at least one, within max_bytes except for the first. Raises CompactedError."""
        if lo >= hi:
            return []
        if lo < self.first_index():
            raise CompactedError(lo)
        if lo >= self._offset:
            start = lo - self._offset
            return self._tail[start : start + count_within(self._tail, start, hi - self._offset, max_bytes)]
        stable = self._storage.entries(lo, min(hi, self._offset), max_bytes)
        found = list(stable) if not isinstance(stable, list) else stable
        if hi > self._offset and lo + len(found) == self._offset:
            left = max_bytes - sum(map(entry_bytes, found))
            if left > entry_bytes(self._tail[0]):
                found = found + self._tail[: count_within(self._tail, 0, hi - self._offset, left)]
        return found

    def find_conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """The last entry at or before `index` whose term is at most `term`, where a log with that term there can agree.

        Skips whole terms in one round trip (last paragraph of section 5.3 of the paper). The term is 0 if unknown.
        """
        while index > 0:
            try:
                own = self.term(index)
            except (CompactedError, NotInLogError):
                return index, 0
            if own <= term:
                return index, own
            index -= 1
        return 0, 0

    def has_conf_change(self, lo: int, hi: int, page_bytes: int) -> bool:
        """Whether a configuration change is among the entries from lo to hi-1."""
        while lo < hi:
            page = self.slice(lo, hi, page_bytes)
            if any(entry.kind is EntryKind.CONF_CHANGE for entry in page):
                return True
            lo += len(page)
        return False
