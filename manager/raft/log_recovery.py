"""Log recovery at startup: rebuilds the log in memory from the latest snapshot and the write-ahead log. Pure functions.

Invariant: the data of a snapshot stays on disk. The core gets its metadata, and the transport reads the data when it
sends the snapshot. Called by `disk`.
"""

from __future__ import annotations

from manager.raft.core import Entry, HardState, MemoryStorage, Snapshot, SnapshotMeta
from manager.raft.wal import Replay
from manager.storage_errors import StorageError


def without_data(snapshot: Snapshot) -> Snapshot:
    """The snapshot's metadata without its data."""
    return Snapshot(snapshot.metadata)


def recover_log(snapshot: Snapshot | None, replay: Replay) -> MemoryStorage:
    """Rebuilds the log from the latest snapshot and the write-ahead log.

    The entries are used only if they fit the snapshot: they contain its last entry, or begin right after it.
    Raises StorageError if entries between the two are missing.
    """
    storage = MemoryStorage()
    metadata = snapshot.metadata if snapshot else SnapshotMeta()
    entries = _entries_after_snapshot(metadata, replay)
    if snapshot and entries and entries[0].index <= metadata.index:
        # Older entries are kept for slow followers: the log begins after the oldest of them.
        storage.apply_snapshot(Snapshot(SnapshotMeta(entries[0].index, entries[0].term, metadata.conf_state)))
        storage.append(entries[1:])
        if metadata.index > entries[0].index:
            storage.create_snapshot(metadata.index, metadata.conf_state, b"")
    else:
        if snapshot:
            storage.apply_snapshot(without_data(snapshot))
        storage.append(entries)
    storage.set_hard_state(_clamp_commit_index(replay.hard_state, metadata.index, storage.last_index()))
    return storage


def unlogged_reset(snapshot: Snapshot | None, replay: Replay) -> tuple[int, int] | None:
    """(index, term) of the snapshot if it replaced the log but a crash came before the log recorded that; else None.

    The log must record it before anything is appended. Otherwise the next start would append to the old entries.
    """
    if snapshot is None or _entries_after_snapshot(snapshot.metadata, replay):
        return None
    at = (snapshot.metadata.index, snapshot.metadata.term)
    return at if replay.entries or replay.base not in (None, at) else None


def _entries_after_snapshot(metadata: SnapshotMeta, replay: Replay) -> list[Entry]:
    """The entries that continue the snapshot's log, or an empty list."""
    entries = replay.entries
    if not entries or entries[-1].index < metadata.index:
        return []
    first = entries[0].index
    if first > metadata.index + 1:
        raise StorageError(
            f"the log begins at entry {first} but the latest snapshot ends at entry {metadata.index}: entries between them are "
            "lost. Remove this manager from the cluster and join it again, or restore its folder from a copy",
        )
    if first == metadata.index + 1:
        return entries if _base_matches(metadata, replay) else []
    last_covered = entries[metadata.index - first]
    return entries if last_covered.term == metadata.term else []


def _base_matches(metadata: SnapshotMeta, replay: Replay) -> bool:
    return replay.base is None or replay.base[0] < metadata.index or replay.base == (metadata.index, metadata.term)


def _clamp_commit_index(hard: HardState, snapshot_index: int, last_index: int) -> HardState:
    """The hard state with a commit index of at least the snapshot. A commit index beyond the log means lost entries."""
    commit = max(hard.commit, snapshot_index)
    if commit > last_index:
        raise StorageError(
            f"the log ends at entry {last_index} but entry {commit} was committed: the disk lost entries. "
            "Remove this manager from the cluster and join it again, or restore its folder from a copy",
        )
    return HardState(hard.term, hard.vote, commit)
