"""All that a Raft node keeps on disk, behind one door: who it is, the write-ahead log, snapshots, the lock.

Law: one process holds the folder; nothing is reported as durable before it is. The log's writes run in one thread in order,
snapshots in another so that a large one does not hold up the log.

    FOLDER/lock  FOLDER/member.json  FOLDER/wal/*.wal  FOLDER/snapshots/*.snap
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from manager.raft.core import Entry, HardState, MemoryStorage, Snapshot, SnapshotMeta, bootstrap_snapshot
from manager.raft.errors import InUseError, StorageError, WriteFailedError
from manager.raft.sealing import KeyRing
from manager.raft.segment import Frame, sync_folder, write_all
from manager.raft.snapshots import SnapshotFolder
from manager.raft.stable import rebuild
from manager.raft.wal import SEGMENT_BYTES, Wal
from manager.store.consensus import Member


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who this node is in the group, and whom it knew when it entered; later the log tells of the members."""

    cluster_id: str
    raft_id: int
    node_id: str
    members: tuple[Member, ...] = ()


class Disk:
    """Made by ``Disk.open`` alone."""

    def __init__(self, folder: Path, ring: KeyRing, *, segment_bytes: int) -> None:
        self._folder = folder
        self._wal = Wal(folder / "wal", ring, segment_bytes=segment_bytes)
        self._snapshots = SnapshotFolder(folder / "snapshots", ring)
        self._log_thread = ThreadPoolExecutor(1, "raft-log")
        self._snapshot_thread = ThreadPoolExecutor(1, "raft-snapshot")
        self._lock = _lock(folder)
        self._resealing = asyncio.Lock()
        self._closed = False
        self.identity: Identity
        self.storage: MemoryStorage
        self.snapshot: Snapshot | None

    @classmethod
    def open(
        cls,
        folder: Path,
        ring: KeyRing,
        *,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> Disk:
        """Reads what is there. ``snapshot`` holds the latest snapshot with its bytes until ``forget_snapshot``.

        Raises:
            StorageError: the folder is in use, damaged, or not that of a member.
        """
        disk = cls(folder, ring, segment_bytes=segment_bytes)
        try:
            disk.identity = read_identity(folder)
            disk.snapshot = disk._snapshots.open()
            disk.storage = rebuild(disk.snapshot, disk._wal.open())
        except BaseException:
            disk.close()
            raise
        return disk

    def forget_snapshot(self) -> None:
        """Its bytes are restored and no longer needed in memory."""
        self.snapshot = None

    def begin_save(
        self,
        hard_state: HardState | None,
        entries: list[Entry],
        snapshot: Snapshot | None,
    ) -> asyncio.Future[None]:
        """Begins to write what a ``Ready`` told; the result comes when it is durable, or WriteFailedError."""
        reset = (snapshot.metadata.index, snapshot.metadata.term) if snapshot else None
        frame = Frame(hard_state or self.storage.initial_state()[0], entries, reset)
        return asyncio.get_running_loop().run_in_executor(self._log_thread, self._write, frame, snapshot)

    def _write(self, frame: Frame, snapshot: Snapshot | None) -> None:
        if snapshot:
            self._snapshots.save(snapshot)
        self._wal.append(frame)

    def finish_save(self, hard_state: HardState | None, entries: list[Entry], snapshot: Snapshot | None) -> None:
        """Makes the same readable in ``storage``."""
        if snapshot:
            self.storage.apply_snapshot(Snapshot(snapshot.metadata))
        self.storage.append(entries)
        self.note(hard_state)

    def note(self, hard_state: HardState | None) -> None:
        """A hard state that needs no flush (only the commit index rose): it reaches the disk with the next ``save``."""
        if hard_state:
            self.storage.set_hard_state(hard_state)

    async def take_snapshot(self, snapshot: Snapshot) -> None:
        """Makes a snapshot of this node's own state durable; ``compact`` comes after. Raises WriteFailedError."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._snapshot_thread, self._snapshots.save, snapshot)

    async def compact(self, metadata: SnapshotMeta, *, keep_entries: int, keep_old_snapshots: int) -> None:
        """Forgets entries that the snapshot covers but for the last ``keep_entries``, and snapshots but for it and so many old ones."""
        if metadata.index < self.storage.first_index():
            return  # a snapshot from the leader overtook this one
        self.storage.create_snapshot(metadata.index, metadata.conf_state, b"")
        upto = metadata.index - keep_entries
        if upto >= self.storage.first_index():
            self.storage.compact(upto)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._log_thread, self._wal.release, self.storage.first_index() - 1)
        await loop.run_in_executor(self._snapshot_thread, self._snapshots.prune, keep_old_snapshots)

    async def load_snapshot(self, index: int) -> Snapshot:
        """The bytes of a snapshot to be sent."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._snapshot_thread, self._snapshots.load, index)

    async def reseal(self, ring: KeyRing) -> None:
        """From now on everything new is sealed with ``ring.current``; returns when no file needs another key. Saves go on meanwhile.

        Closed segments and snapshots are written anew one by one, each replaced in one step with all that it held, so a crash at
        any moment leaves files of both keys and nothing else. Raises StorageError; after a WriteFailedError no save succeeds.
        """
        run = asyncio.get_running_loop().run_in_executor
        async with self._resealing:
            self._require_open()
            for path in await run(self._log_thread, self._change_ring, ring):
                self._require_open()
                fresh = await run(self._snapshot_thread, self._wal.reseal, path)
                self._require_open()
                if fresh:
                    await run(self._log_thread, self._wal.replace, path, fresh)
            self._require_open()
            await run(self._snapshot_thread, self._snapshots.reseal)

    def _require_open(self) -> None:
        if self._closed:
            raise StorageError(f"{self._folder} was closed")

    def _change_ring(self, ring: KeyRing) -> list[Path]:
        """In the log's thread: a snapshot from the leader is saved there, wholly before this or wholly after it."""
        self._snapshots.ring = ring
        return self._wal.change_ring(ring)

    def close(self) -> None:
        """Ends the threads after what they have to do, and lets the folder go."""
        self._closed = True
        self._log_thread.shutdown(wait=True)
        self._snapshot_thread.shutdown(wait=True)
        self._wal.close()
        os.close(self._lock)


def found_group(folder: Path, ring: KeyRing, identity: Identity, data: bytes) -> None:
    """Prepares the folder of a group's first member; ``data`` is the state machine's state at the beginning.

    Raises:
        StorageError: the folder is that of a member already.
    """
    _require_empty(folder)
    snapshots = SnapshotFolder(folder / "snapshots", ring)
    snapshots.open()
    snapshots.save(bootstrap_snapshot([identity.raft_id], data))
    _write_identity(folder, identity)


def enter_group(folder: Path, identity: Identity) -> None:
    """Prepares the folder of a member that joins: its state comes from the leader. Raises StorageError as above."""
    _require_empty(folder)
    _write_identity(folder, identity)


def is_member(folder: Path) -> bool:
    return (folder / "member.json").exists()


def read_identity(folder: Path) -> Identity:
    """Raises StorageError."""
    path = folder / "member.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Identity)
    except FileNotFoundError:
        raise StorageError(f"{folder} is not the folder of a member; bootstrap or join first") from None
    except msgspec.DecodeError as error:
        raise StorageError(f"{path} is not understood ({error}); restore it from a copy or join again") from None


def _require_empty(folder: Path) -> None:
    if is_member(folder):
        raise StorageError(
            f"{folder} belongs to a member already; remove it before this host founds or joins a cluster"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _write_identity(folder: Path, identity: Identity) -> None:
    """The last step of entering: without it the folder counts as empty."""
    path, fresh = folder / "member.json", folder / "member.new"
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, msgspec.json.encode(identity))
            os.fsync(fd)
        finally:
            os.close(fd)
        fresh.rename(path)
        sync_folder(folder)
    except OSError as error:
        raise WriteFailedError(path, error) from error


def _lock(folder: Path) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise InUseError(folder) from None
    return fd
