"""Durable state of a Raft member on disk: identity, write-ahead log, snapshots and the lock file.

Invariant: one process holds the directory. Nothing is reported as durable before it is. A failed write or flush is
final: the disk's content is unknown then, and a retry could report data as durable that is not.
The log is written by one thread in order, snapshots by another so that a large one does not delay the log.

    FOLDER/lock  FOLDER/member.json  FOLDER/wal/*.wal  FOLDER/snapshots/*.snap
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from manager.keys.key_ring import KeyRing
from manager.raft.core import Entry, HardState, MemoryStorage, Snapshot, SnapshotMeta, bootstrap_snapshot
from manager.raft.file_ops import REAL_FILE_OPS, FileOps, replace_durably, write_temporary
from manager.raft.log_recovery import recover_log, unlogged_reset
from manager.raft.snapshots import SnapshotFolder, SnapshotReader
from manager.raft.wal import SEGMENT_BYTES, Wal
from manager.raft.wal_segment import Frame
from manager.storage_errors import DISK_FULL_ERRNOS, InUseError, StorageError, WriteFailedError
from manager.store.consensus import Member

log = logging.getLogger(__name__)


class MemberIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Identity of this node in the group, and the members at the time it joined; later the log holds the members."""

    cluster_id: str
    raft_id: int
    node_id: str
    members: tuple[Member, ...] = ()


class Disk:
    """Created by ``Disk.open`` only."""

    def __init__(self, folder: Path, ring: KeyRing, *, segment_bytes: int, files: FileOps) -> None:
        self._folder = folder
        self._wal = Wal(folder / "wal", ring, segment_bytes=segment_bytes, files=files)
        self._snapshots = SnapshotFolder(folder / "snapshots", ring, files)
        self._keep_old = 0
        self._log_thread = ThreadPoolExecutor(1, "raft-log")
        self._snapshot_thread = ThreadPoolExecutor(1, "raft-snapshot")
        self._failed: WriteFailedError | None = None
        self._lock = _lock(folder)
        self._reencrypting = asyncio.Lock()
        self._closed = False
        self.identity: MemberIdentity
        self.storage: MemoryStorage
        self.snapshot: Snapshot | None

    @classmethod
    def open(
        cls,
        folder: Path,
        ring: KeyRing,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        files: FileOps = REAL_FILE_OPS,
    ) -> Disk:
        """Opens and reads the directory. ``snapshot`` holds the latest snapshot with its data until ``forget_snapshot``.

        Raises:
            StorageError: the directory is in use, damaged, or not that of a member; WriteFailedError: the disk fails or is full.
        """
        disk = cls(folder, ring, segment_bytes=segment_bytes, files=files)
        try:
            disk.identity = read_identity(folder)
            disk._run(disk._read)
        except BaseException:
            disk.close()
            raise
        return disk

    def _read(self) -> None:
        self.snapshot = self._snapshots.open()
        self._keep_old = self._snapshots.old_count()  # until ``compact`` gets the setting
        replay = self._wal.read()
        self.storage = recover_log(self.snapshot, replay)
        self._begin()
        reset = unlogged_reset(self.snapshot, replay)
        if reset:
            self._wal.append(Frame(self.storage.initial_state()[0], [], reset))

    def _begin(self) -> None:
        """Starts a new segment. If the disk is full, it first removes what the snapshot covers; otherwise no restart could succeed."""
        try:
            self._wal.start_segment()
        except OSError as error:
            if error.errno not in DISK_FULL_ERRNOS or self.snapshot is None:
                raise
            log.warning("the disk of %s is full: removing log segments that the latest snapshot covers", self._folder)
            self._wal.make_room(self.snapshot.metadata.index)
            self._snapshots.prune()
            self._wal.start_segment()

    def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs every write operation, in any thread. Raises WriteFailedError, and after the first failure always."""
        if self._failed:
            raise self._failed
        try:
            return function(*arguments)
        except OSError as error:
            self._failed = WriteFailedError(self._folder, error)
            raise self._failed from error

    def forget_snapshot(self) -> None:
        """Releases the memory of the snapshot after it was restored."""
        self.snapshot = None

    def begin_save(
        self,
        hard_state: HardState | None,
        entries: list[Entry],
        snapshot: Snapshot | None,
    ) -> asyncio.Future[None]:
        """Starts writing the durable part of a ``Ready``. The future resolves when it is durable, or fails with WriteFailedError."""
        reset = (snapshot.metadata.index, snapshot.metadata.term) if snapshot else None
        frame = Frame(hard_state or self.storage.initial_state()[0], entries, reset)
        return asyncio.get_running_loop().run_in_executor(self._log_thread, self._run, self._write, frame, snapshot)

    def _write(self, frame: Frame, snapshot: Snapshot | None) -> None:
        if snapshot:
            self._snapshots.save(snapshot)
        self._wal.append(frame)
        if snapshot:
            self._wal.release(snapshot.metadata.index)
            self._snapshot_thread.submit(self._run, self._snapshots.prune, self._keep_old)

    def finish_save(self, hard_state: HardState | None, entries: list[Entry], snapshot: Snapshot | None) -> None:
        """Makes the saved data readable in ``storage``."""
        if snapshot:
            self.storage.apply_snapshot(Snapshot(snapshot.metadata))
        self.storage.append(entries)
        self.record_hard_state(hard_state)

    def record_hard_state(self, hard_state: HardState | None) -> None:
        """Records a hard state that needs no flush, because only the commit index rose. It is written with the next save."""
        if hard_state:
            self.storage.set_hard_state(hard_state)

    async def take_snapshot(self, snapshot: Snapshot) -> None:
        """Makes a snapshot of this node's own state durable; ``compact`` follows. Raises WriteFailedError."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._snapshot_thread, self._run, self._snapshots.save, snapshot)

    async def compact(self, metadata: SnapshotMeta, *, keep_entries: int, keep_old_snapshots: int) -> None:
        """Removes entries that the snapshot covers except the last ``keep_entries``, and snapshots except it and the given number
        of older ones.
        """
        self._keep_old = keep_old_snapshots
        if metadata.index < self.storage.first_index():
            return  # a newer snapshot from the leader has replaced the log
        if metadata.index > self.storage.snapshot_index:
            self.storage.create_snapshot(metadata.index, metadata.conf_state, b"")
        upto = metadata.index - keep_entries
        if upto >= self.storage.first_index():
            self.storage.compact(upto)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._log_thread, self._run, self._wal.release, self.storage.first_index() - 1)
        await loop.run_in_executor(self._snapshot_thread, self._run, self._snapshots.prune, keep_old_snapshots)

    async def open_snapshot(self, index: int) -> SnapshotReader:
        """Opens a snapshot for sending; it may be read in any thread and must be closed."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._snapshot_thread, self._snapshots.reader, index)

    async def reencrypt(self, ring: KeyRing) -> None:
        """Encrypts new data with ``ring.current`` at once; returns when no file needs another key. Saves continue meanwhile.

        Closed segments and snapshots are rewritten one by one, each replaced in one step with its whole content, so a crash at
        any moment leaves only complete files under either key. Raises StorageError; after a WriteFailedError no save succeeds.
        """
        run = asyncio.get_running_loop().run_in_executor
        async with self._reencrypting:
            self._require_open()
            for path in await run(self._log_thread, self._run, self._set_ring, ring):
                self._require_open()
                fresh = await run(self._snapshot_thread, self._run, self._wal.reencrypt, path)
                self._require_open()
                if fresh:
                    await run(self._log_thread, self._run, self._wal.replace, path, fresh)
            self._require_open()
            await run(self._snapshot_thread, self._run, self._snapshots.reencrypt)

    def _require_open(self) -> None:
        if self._closed:
            raise StorageError(f"{self._folder} is closed")

    def _set_ring(self, ring: KeyRing) -> list[Path]:
        """Runs in the log thread, where snapshots from the leader are saved too, so each is written entirely before or after it."""
        self._snapshots.ring = ring
        return self._wal.set_ring(ring)

    def close(self) -> None:
        """Waits for running operations, then ends the threads and unlocks the directory."""
        self._closed = True
        self._log_thread.shutdown(wait=True)
        self._snapshot_thread.shutdown(wait=True)
        self._wal.close()
        os.close(self._lock)


def create_group(
    folder: Path, ring: KeyRing, identity: MemberIdentity, data: bytes, files: FileOps = REAL_FILE_OPS
) -> None:
    """Prepares the directory of the first member of a group; ``data`` is the initial state of the state machine.

    Raises:
        StorageError: the directory already belongs to a member; WriteFailedError.
    """
    with _new_member_folder(folder, files):
        snapshots = SnapshotFolder(folder / "snapshots", ring, files)
        snapshots.open()
        snapshots.save(bootstrap_snapshot([identity.raft_id], data))
        _write_identity(folder, identity, files)


def create_member(folder: Path, identity: MemberIdentity, files: FileOps = REAL_FILE_OPS) -> None:
    """Prepares the directory of a joining member, which gets its state from the leader. Raises as `create_group`."""
    with _new_member_folder(folder, files):
        _write_identity(folder, identity, files)


def is_member(folder: Path) -> bool:
    """Whether the directory belongs to a member."""
    return (folder / "member.json").exists()


def read_identity(folder: Path) -> MemberIdentity:
    """Reads member.json. Raises StorageError."""
    path = folder / "member.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=MemberIdentity)
    except FileNotFoundError:
        raise StorageError(f"{folder} is not the directory of a Raft member; create or join a cluster first") from None
    except msgspec.DecodeError as error:
        raise StorageError(
            f"{path} cannot be parsed ({error}); restore it from a copy or join the cluster again"
        ) from None


@contextmanager
def _new_member_folder(folder: Path, files: FileOps) -> Iterator[None]:
    """Empties the directory, which may hold leftovers of an interrupted attempt: without member.json it counts as empty."""
    if is_member(folder):
        raise StorageError(
            f"{folder} already belongs to a Raft member; remove it before this host creates or joins a cluster"
        )
    try:
        files.make_folder(folder)
        for part in (folder / "snapshots", folder / "wal"):
            for leftover in sorted(part.glob("*")):
                files.unlink(leftover)
            if part.exists():
                files.sync_folder(part)
        yield
    except OSError as error:
        raise WriteFailedError(folder, error) from error


def _write_identity(folder: Path, identity: MemberIdentity, files: FileOps) -> None:
    """Writes member.json; the last step of creating a member."""
    path = folder / "member.json"
    replace_durably(files, write_temporary(files, path, [msgspec.json.encode(identity)]), path)


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
