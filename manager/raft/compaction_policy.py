"""Log compaction policy: when to take a snapshot and how many log entries to keep after it. Pure functions.

Invariant: the log between two snapshots is bounded in entries and in bytes; the entries kept behind a snapshot are
bounded in bytes. Called by the compactor.
"""

from __future__ import annotations

from manager.raft.core import MemoryStorage, ProgressState, Status

MAX_KEPT_BYTES = 64 << 20
"""Bound on the entries that stay in the log for slow followers."""


def snapshot_due(*, entries: int, size_bytes: int, interval: int, limit_bytes: int, last_bytes: int) -> bool:
    """Whether a snapshot is due: after ``interval`` entries or ``limit_bytes`` of them, but never before as many bytes as the
    last snapshot had. Otherwise a large state would be written more often than the log that it replaces.
    """
    return entries >= interval or (entries > 0 and size_bytes >= max(limit_bytes, last_bytes))


def first_index_to_keep(storage: MemoryStorage, status: Status, snapshot_index: int, keep_entries: int) -> int:
    """The first entry to keep after a snapshot. Besides the last ``keep_entries``, a leader keeps the entries that reachable
    followers lack and those after a snapshot in transit. Otherwise a follower could need another snapshot each time it
    has received one.
    """
    needed = [snapshot_index - keep_entries + 1]
    for raft_id, peer in status.peers.items():
        if raft_id != status.id and (peer.recent_active or peer.state is ProgressState.SNAPSHOT):
            has = peer.next - 1 if peer.state is ProgressState.SNAPSHOT else peer.match
            needed.append(has + 1)
    return max(min(needed), storage.first_index_within(snapshot_index, MAX_KEPT_BYTES))
