"""Log compaction policy: when to take a snapshot and how many log entries to keep after it. Pure functions.

Invariant: the log between two snapshots is bounded in entries and in bytes; the entries kept behind a snapshot are
bounded in bytes. Called by the compactor.
"""

from __future__ import annotations

from manager.raft.core import MemoryStorage, ProgressState, Status

MAX_KEPT_BYTES = 64 << 20
"""The most that stays in the log for followers that lag, whatever their number of entries."""


def snapshot_due(*, entries: int, size_bytes: int, interval: int, limit_bytes: int, last_bytes: int) -> bool:
    """After ``interval`` entries, or ``limit_bytes`` of them; but not before as many bytes as the last snapshot had, for a large state
    would else be written more often than the log that it replaces.
    """
    return entries >= interval or (entries > 0 and size_bytes >= max(limit_bytes, last_bytes))


def first_index_to_keep(storage: MemoryStorage, status: Status, snapshot_index: int, keep_entries: int) -> int:
    """The first entry to keep. Besides the last ``keep_entries`` before the snapshot a leader keeps what followers that answer lack, and
    what comes after a snapshot that is on its way: else a follower could need another one each time it has taken one.
    """
    needed = [snapshot_index - keep_entries + 1]
    for raft_id, peer in status.peers.items():
        if raft_id != status.id and (peer.recent_active or peer.state is ProgressState.SNAPSHOT):
            has = peer.next - 1 if peer.state is ProgressState.SNAPSHOT else peer.match
            needed.append(has + 1)
    return max(min(needed), storage.first_index_within(snapshot_index, MAX_KEPT_BYTES))
