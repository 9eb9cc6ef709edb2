"""Log compaction: takes snapshots of the node's own state in the background and truncates the log after each.

Invariant: one snapshot at a time. The state is captured on the event loop in one step, then encoded and written in
worker threads. `run` is a task of the driver.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from manager.raft.compaction_policy import first_index_to_keep, snapshot_due
from manager.raft.core import Snapshot, SnapshotMeta, Status
from manager.raft.disk import Disk

log = logging.getLogger(__name__)

_RECOMPACT_SECONDS = 2.0

Capture = Callable[[], Callable[[], bytes]]


class Compactor:
    """Tracks the growth of the log since the latest snapshot of any origin."""

    def __init__(self, disk: Disk, status: Callable[[], Status]) -> None:
        self._disk = disk
        self._status = status
        self._due: asyncio.Queue[tuple[SnapshotMeta, Callable[[], bytes]]] = asyncio.Queue(1)
        self._busy = False
        self._keeps_extra = False
        self._index, self._size = 0, 0
        self._bytes_since_snapshot = 0
        self._interval, self._limit_bytes = 0, 0
        self._keep_entries, self._keep_old = 0, 0

    def configure(self, *, interval: int, limit_bytes: int, keep_entries: int, keep_old: int) -> None:
        """Replaces the settings; they take effect with the next snapshot."""
        self._interval, self._limit_bytes = interval, limit_bytes
        self._keep_entries, self._keep_old = keep_entries, keep_old

    def entry_applied(self, size_bytes: int) -> None:
        """Counts an applied entry."""
        self._bytes_since_snapshot += size_bytes

    def snapshot_taken(self, index: int, size_bytes: int) -> None:
        """Records a snapshot: from the disk, from the leader, or this node's own."""
        if index >= self._index:
            self._index, self._size = index, size_bytes

    def start_if_due(self, metadata: SnapshotMeta, capture: Capture) -> None:
        """Starts a snapshot of the state at ``metadata`` if one is due."""
        if not self._busy and snapshot_due(
            entries=metadata.index - self._index,
            size_bytes=self._bytes_since_snapshot,
            interval=self._interval,
            limit_bytes=self._limit_bytes,
            last_bytes=self._size,
        ):
            self._busy = True
            self._bytes_since_snapshot = 0
            self._due.put_nowait((metadata, capture()))

    async def run(self) -> None:
        """Runs until cancelled. Raises WriteFailedError."""
        metadata = SnapshotMeta()
        while True:
            try:
                async with asyncio.timeout(_RECOMPACT_SECONDS if self._keeps_extra else None):
                    metadata, encode = await self._due.get()
            except TimeoutError:
                await self._compact(metadata)
                continue
            data = await asyncio.to_thread(encode)
            await self._disk.take_snapshot(Snapshot(metadata, data))
            await self._compact(metadata)
            self.snapshot_taken(metadata.index, len(data))
            self._busy = False

    async def _compact(self, metadata: SnapshotMeta) -> None:
        """Compacts the log. Entries kept for a slow follower are removed later, when it has caught up or is unreachable."""
        kept = (
            metadata.index
            + 1
            - first_index_to_keep(self._disk.storage, self._status(), metadata.index, self._keep_entries)
        )
        self._keeps_extra = kept > self._keep_entries
        await self._disk.compact(metadata, keep_entries=kept, keep_old_snapshots=self._keep_old)
        log.debug("compacted the log: first index %d, snapshot at %d", self._disk.storage.first_index(), metadata.index)
