"""History of a Raft member written by the real `Disk`, and the check of what a restart recovers after a crash in it.

Invariant: everything that a returned save promised is there; a write in progress is there completely or not at all;
nothing else is there.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from manager.keys.key_ring import KeyRing
from manager.raft.core import ConfState, Entry, HardState, Snapshot, SnapshotMeta
from manager.raft.disk import Disk, MemberIdentity, create_group, create_member, is_member
from manager.raft.file_ops import FileOps
from manager.raft.wal_segment import Frame
from tests.simulation.simulator.disk_model import RecordingFileOps, UnsyncedFileOps

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
BEFORE, BOTH, AFTER = KeyRing.of(OLD), KeyRing({1: OLD, 2: NEW}, 2), KeyRing({2: NEW}, 2)
IDENTITY = MemberIdentity(cluster_id="c", raft_id=1, node_id="n")
CONF = ConfState(voters=(1,))
SEGMENT_BYTES = 700


class LostError(AssertionError):
    """The disk lost or changed data that it had acknowledged."""


class DurableState(msgspec.Struct, frozen=True):
    """Data that must be there. ``base`` is (index, term) before the log's first entry; ``snapshot`` is the least index of the
    latest snapshot.
    """

    member: bool = False
    hard: HardState = HardState()
    base: tuple[int, int] = (0, 0)
    entries: tuple[Entry, ...] = ()
    snapshot: int = 0
    reencrypted: bool = False

    @property
    def last(self) -> int:
        return self.base[0] + len(self.entries)

    def saved(self, hard: HardState, entries: list[Entry], snapshot: Snapshot | None) -> DurableState:
        base, kept = self.base, self.entries
        if snapshot:
            base, kept = (snapshot.metadata.index, snapshot.metadata.term), ()
        if entries:
            kept = kept[: entries[0].index - base[0] - 1] + tuple(entries)
        least = snapshot.metadata.index if snapshot else self.snapshot
        return msgspec.structs.replace(self, hard=hard, base=base, entries=kept, snapshot=least)


class CrashPoint(msgspec.Struct, frozen=True):
    """What was acknowledged before an operation, and what was being written."""

    promised: DurableState
    coming: DurableState
    replacing: int = 0


def content(index: int, term: int) -> bytes:
    return b"state at %d of %d" % (index, term) * 20


def snapshot(index: int, term: int) -> Snapshot:
    return Snapshot(SnapshotMeta(index, term, CONF), content(index, term))


def entries(first: int, last: int, term: int) -> list[Entry]:
    return [Entry(term, index, data=b"entry %d of %d" % (index, term)) for index in range(first, last + 1)]


class MemberHistory:
    """Runs operations through the real code and records, for each file operation, what was acknowledged by then."""

    def __init__(self, root: Path, files: RecordingFileOps) -> None:
        self.folder = root / "manager" / "raft"
        self.files = files
        self.disk: Disk
        self._promised = self._coming = DurableState()
        self._replacing = 0
        self._points: list[tuple[int, CrashPoint]] = []
        self._mark()

    def _mark(self) -> None:
        self._points.append((len(self.files.ops), CrashPoint(self._promised, self._coming, self._replacing)))

    def _begin(self, coming: DurableState, replacing: int = 0) -> None:
        self._coming, self._replacing = coming, replacing
        self._mark()

    def _done(self) -> None:
        self._promised, self._replacing = self._coming, 0
        self._mark()

    def _also(self, **changes: object) -> None:
        """Records something that is durable besides the saves."""
        self._promised = msgspec.structs.replace(self._promised, **changes)
        self._coming = msgspec.structs.replace(self._coming, **changes)
        self._mark()

    def points(self) -> list[CrashPoint]:
        """For each file operation, the latest crash point that applies after it and before the next one."""
        found, position = [], 0
        for number in range(len(self.files.ops)):
            while position + 1 < len(self._points) and self._points[position + 1][0] <= number + 1:
                position += 1
            found.append(self._points[position][1])
        return found

    @property
    def now(self) -> CrashPoint:
        return self._points[-1][1]

    def create_group(self) -> None:
        self._begin(msgspec.structs.replace(self._promised, member=True, base=(1, 1), snapshot=1))
        create_group(self.folder, BEFORE, IDENTITY, content(1, 1), self.files)
        self._done()

    def create_member(self) -> None:
        self._begin(msgspec.structs.replace(self._promised, member=True))
        create_member(self.folder, IDENTITY, self.files)
        self._done()

    def open(self, ring: KeyRing = BEFORE) -> None:
        began = len(self.files.ops)
        self.disk = Disk.open(self.folder, ring, segment_bytes=SEGMENT_BYTES, files=self.files)
        self.opening = range(began, len(self.files.ops))

    def close(self) -> None:
        self.disk.close()

    async def save(self, hard: HardState, new: list[Entry], snap: Snapshot | None = None) -> None:
        self._begin(self._promised.saved(hard, new, snap), snap.metadata.index if snap else 0)
        await self.disk.begin_save(hard, new, snap)
        self.disk.finish_save(hard, new, snap)
        self._done()
        if snap:  # waits for the removal of what it replaced
            await asyncio.get_running_loop().run_in_executor(self.disk._snapshot_thread, int)

    async def append(self, first: int, last: int, term: int) -> None:
        for index in range(first, last + 1):
            await self.save(HardState(term, 1, max(index - 2, self._promised.hard.commit)), entries(index, index, term))

    async def compact(self, index: int, term: int, *, keep: int, keep_old: int = 0) -> None:
        """Takes a snapshot of the node's own state and compacts the log."""
        await self.disk.take_snapshot(snapshot(index, term))
        self._also(snapshot=index)
        await self.disk.compact(SnapshotMeta(index, term, CONF), keep_entries=keep, keep_old_snapshots=keep_old)

    async def reencrypt(self) -> None:
        await self.disk.reencrypt(BOTH)
        self._also(reencrypted=True)


async def founder(history: MemberHistory) -> None:
    """Creates a group, writes, is overwritten by another leader, changes its key, restarts, compacts."""
    history.create_group()
    history.open()
    await history.append(2, 14, 1)
    await history.compact(8, 1, keep=3)
    await history.save(HardState(2, 0, 9), [])
    await history.save(HardState(3, 2, 11), entries(12, 16, 3))
    await history.append(17, 20, 3)
    await history.compact(15, 3, keep=0, keep_old=1)
    await history.reencrypt()
    await history.append(21, 23, 3)
    history.close()
    history.open(BOTH)
    history.close()
    history.open(BOTH)
    await history.append(24, 27, 3)
    await history.compact(22, 3, keep=2)
    history.close()


async def follower(history: MemberHistory) -> None:
    """Joins, receives several snapshots, and changes its key while it writes."""
    history.create_member()
    history.open()
    await history.save(HardState(2, 0, 0), [])
    await history.save(HardState(2, 0, 10), [], snapshot(10, 2))
    await history.append(11, 16, 2)
    await history.save(HardState(4, 0, 15), [], snapshot(15, 4))
    await history.append(16, 19, 4)
    await history.save(HardState(4, 0, 30), entries(31, 32, 4), snapshot(30, 4))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(history.reencrypt())
        await history.append(33, 44, 4)
    await history.save(HardState(4, 0, 60), [], snapshot(60, 4))
    await history.append(61, 64, 4)
    history.close()


async def busy(history: MemberHistory) -> None:
    """Takes snapshots and changes the key during saves."""
    history.create_group()
    history.open()
    await history.append(2, 10, 1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(history.compact(9, 1, keep=2, keep_old=1))
        await history.append(11, 22, 1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(history.reencrypt())
        tasks.create_task(history.compact(20, 1, keep=0))
        await history.append(23, 34, 1)
    await history.save(HardState(2, 0, 34), entries(35, 36, 2))
    history.close()


class RecoveredState(msgspec.Struct):
    """The state that a restart recovers."""

    hard: HardState
    first: int
    last: int
    entries: list[Entry]
    snapshot: Snapshot | None


def recover(folder: Path, ring: KeyRing, files: FileOps, *, more: bool = False) -> RecoveredState:
    """Opens the disk as a restart does; with ``more`` it then appends one entry."""
    disk = Disk.open(folder, ring, segment_bytes=SEGMENT_BYTES, files=files)
    try:
        storage = disk.storage
        first, last = storage.first_index(), storage.last_index()
        found = RecoveredState(
            storage.initial_state()[0], first, last, storage.entries(first, last + 1, 1 << 30), disk.snapshot
        )
        if more:
            disk._run(disk._write, Frame(HardState(9, 9, found.hard.commit), entries(last + 1, last + 1, 9)), None)
        return found
    finally:
        disk.close()


def promised_by(found: RecoveredState, before: DurableState, *, more: bool = False) -> CrashPoint:
    """The crash point after a restart that found this state and may have told others; with ``more`` it wrote on as `recover` does."""
    promise = msgspec.structs.replace(
        before,
        member=True,
        hard=found.hard,
        base=(found.first - 1, 0),
        entries=tuple(found.entries),
        snapshot=found.snapshot.metadata.index if found.snapshot else 0,
    )
    if more:
        promise = promise.saved(HardState(9, 9, found.hard.commit), entries(found.last + 1, found.last + 1, 9), None)
    return CrashPoint(promise, promise)


def check_folder(root: Path, point: CrashPoint) -> None:
    """Opens what a crash left twice, appends an entry, and opens it again. Raises LostError or an error of the real code."""
    folder = root / "manager" / "raft"
    if not is_member(folder):
        _require(not point.promised.member, "the membership is gone")
        return
    ring = AFTER if point.promised.reencrypted else BOTH
    found = recover(folder, ring, UnsyncedFileOps())
    check(found, point)
    again = recover(folder, ring, UnsyncedFileOps(), more=True)
    _require(again == found, f"a second start finds {again}, the first found {found}")
    later = recover(folder, ring, UnsyncedFileOps())
    expected = [*found.entries, *entries(found.last + 1, found.last + 1, 9)]
    _require(later.entries[-len(expected) :] == expected, f"after one more save it finds {later}")
    _require(later.hard == HardState(9, 9, found.hard.commit), f"after one more save it finds {later.hard}")


def check(found: RecoveredState, point: CrashPoint) -> None:
    reasons = [_why_not(found, point.promised, point), _why_not(found, point.coming, point)]
    if all(reasons) and not _is_replaced(found, point):
        raise LostError(f"found {found.hard}, entries {found.first} to {found.last}: {'; or '.join(map(str, reasons))}")


def _why_not(found: RecoveredState, promise: DurableState, point: CrashPoint) -> str:
    index = found.snapshot.metadata.index if found.snapshot else 0
    hard = HardState(promise.hard.term, promise.hard.vote, max(promise.hard.commit, index))
    if found.hard != hard:
        return f"{hard} was promised"
    if found.last != promise.last:
        return f"the log was promised to end at {promise.last}"
    for entry in found.entries:
        if entry.index > promise.base[0] and entry != promise.entries[entry.index - promise.base[0] - 1]:
            return f"{entry} is not what was written"
    if index < point.promised.snapshot or found.first > index + 1:
        return f"the latest snapshot is at {index}"
    if found.snapshot and found.snapshot.data != content(index, found.snapshot.metadata.term):
        return f"the snapshot at {index} holds {found.snapshot.data!r}"
    return ""


def _is_replaced(found: RecoveredState, point: CrashPoint) -> bool:
    """Whether the leader's snapshot is there but the log does not record it yet; that counts as recorded."""
    hard = point.promised.hard
    return (
        bool(point.replacing)
        and found.snapshot == snapshot(point.replacing, point.coming.base[1])
        and found.last == point.replacing
        and not found.entries
        and found.hard == HardState(hard.term, hard.vote, max(hard.commit, point.replacing))
    )


def _require(holds: bool, words: str) -> None:
    if not holds:
        raise LostError(words)
