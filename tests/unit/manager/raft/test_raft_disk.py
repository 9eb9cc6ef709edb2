"""Recovery of a Raft member's disk at startup after a stop at any moment, and failing writes."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from manager.keys.key_ring import KeyRing
from manager.raft.core import ConfState, Entry, HardState, Snapshot, SnapshotMeta
from manager.raft.disk import Disk, MemberIdentity, create_group, create_member
from manager.raft.file_ops import FileOps
from manager.raft.log_recovery import recover_log
from manager.raft.snapshots import SnapshotFolder
from manager.raft.wal import Replay
from manager.storage_errors import CorruptError, InUseError, StorageError, WriteFailedError

RING = KeyRing.of(bytes(range(32)))
CONF = ConfState(voters=(1, 2, 3))
IDENTITY = MemberIdentity(cluster_id="c", raft_id=1, node_id="n")


def entries(first: int, last: int, term: int = 1) -> list[Entry]:
    return [Entry(term, index, data=b"%d" % index) for index in range(first, last + 1)]


def snapshot(index: int, term: int = 1, data: bytes = b"state") -> Snapshot:
    return Snapshot(SnapshotMeta(index, term, CONF), data)


async def save(disk: Disk, hard: HardState, what: list[Entry], snap: Snapshot | None = None) -> None:
    await disk.begin_save(hard, what, snap)
    disk.finish_save(hard, what, snap)


async def test_compaction_keeps_the_configured_number_of_old_snapshots(tmp_path: Path) -> None:
    create_group(tmp_path, RING, IDENTITY, b"")
    disk = Disk.open(tmp_path, RING)
    await save(disk, HardState(1, 1, 60), entries(2, 60))

    async def kept(index: int, keep_old_snapshots: int) -> list[int]:
        taken = snapshot(index)
        await disk.take_snapshot(taken)
        await disk.compact(taken.metadata, keep_entries=5, keep_old_snapshots=keep_old_snapshots)
        return sorted(int(path.stem.partition("-")[0], 16) for path in (tmp_path / "snapshots").glob("*.snap"))

    assert await kept(10, 2) == [1, 10]
    assert await kept(20, 2) == [1, 10, 20]
    assert await kept(30, 2) == [10, 20, 30]
    assert await kept(40, 0) == [40]
    disk.close()


async def test_a_member_restarts_with_snapshot_log_and_vote(tmp_path: Path) -> None:
    create_group(tmp_path, RING, IDENTITY, b"beginning")
    disk = Disk.open(tmp_path, RING)
    assert disk.snapshot.data == b"beginning"
    await save(disk, HardState(3, 2, 1), entries(2, 9, 3))
    disk.close()
    disk = Disk.open(tmp_path, RING)
    assert disk.storage.initial_state() == (HardState(3, 2, 1), ConfState(voters=(1,)))
    assert disk.storage.entries(2, 10, 1 << 20) == entries(2, 9, 3)
    disk.close()


async def test_compaction_keeps_some_entries_for_slow_followers_also_across_a_restart(tmp_path: Path) -> None:
    create_group(tmp_path, RING, IDENTITY, b"")
    disk = Disk.open(tmp_path, RING, segment_bytes=256)
    for index in range(2, 101):
        await save(disk, HardState(1, 1, index), entries(index, index))
    taken = snapshot(90)
    await disk.take_snapshot(taken)
    await disk.compact(taken.metadata, keep_entries=20, keep_old_snapshots=0)
    assert disk.storage.first_index() == 71
    disk.close()
    disk = Disk.open(tmp_path, RING)
    assert 50 < disk.storage.first_index() <= 71
    assert disk.storage.last_index() == 100
    assert disk.storage.snapshot().metadata == taken.metadata
    assert disk.snapshot == taken
    disk.close()


async def test_a_snapshot_from_the_leader_replaces_the_log_whether_or_not_the_log_recorded_it_before_a_crash(
    tmp_path: Path,
) -> None:
    for name, logged in (("logged", True), ("crashed", False)):
        folder = tmp_path / name
        create_member(folder, IDENTITY)
        disk = Disk.open(folder, RING)
        await save(disk, HardState(1, 0, 0), entries(1, 20))
        if logged:
            await save(disk, HardState(5, 0, 15), [], snapshot(15, 5))
        else:
            await disk.take_snapshot(snapshot(15, 5))
        disk.close()
        disk = Disk.open(folder, RING)
        assert disk.storage.last_index() == 15, name
        assert disk.storage.term(15) == 5, name
        await save(disk, HardState(5, 0, 16), entries(16, 17, 5))
        disk.close()
        disk = Disk.open(folder, RING)
        assert disk.storage.entries(16, 18, 1 << 20) == entries(16, 17, 5), name
        disk.close()


async def test_repeated_snapshots_from_the_leader_do_not_accumulate(tmp_path: Path) -> None:
    create_member(tmp_path, IDENTITY)
    disk = Disk.open(tmp_path, RING, segment_bytes=1)
    for index in range(10, 40, 10):
        await save(disk, HardState(5, 0, index), [], snapshot(index, 5))
        await save(disk, HardState(5, 0, index), entries(index + 1, index + 3, 5))
    disk.close()
    assert [path.name[:16] for path in (tmp_path / "snapshots").iterdir()] == [f"{30:016x}"]
    assert len(list((tmp_path / "wal").iterdir())) < 5


async def test_a_snapshot_from_the_leader_keeps_the_configured_old_snapshots_also_after_a_restart(
    tmp_path: Path,
) -> None:
    create_member(tmp_path, IDENTITY)
    disk = Disk.open(tmp_path, RING)
    await save(disk, HardState(1, 0, 40), entries(1, 40))
    for index in (10, 20, 30):
        await disk.take_snapshot(snapshot(index))
        await disk.compact(snapshot(index).metadata, keep_entries=0, keep_old_snapshots=2)
    disk.close()
    disk = Disk.open(tmp_path, RING)
    await save(disk, HardState(5, 0, 50), [], snapshot(50, 5))
    disk.close()
    assert sorted(int(path.name[:16], 16) for path in (tmp_path / "snapshots").iterdir()) == [20, 30, 50]


async def test_a_start_continues_from_a_second_snapshot_that_the_log_did_not_record(tmp_path: Path) -> None:
    """1. A snapshot from the leader replaces the log. 2. A crash comes after the file of the next one, before the log records it."""
    create_member(tmp_path, IDENTITY)
    disk = Disk.open(tmp_path, RING)
    await save(disk, HardState(5, 0, 10), [], snapshot(10, 5))
    await disk.take_snapshot(snapshot(15, 5))
    disk.close()
    disk = Disk.open(tmp_path, RING)
    await save(disk, HardState(5, 0, 15), entries(16, 17, 5))
    disk.close()
    disk = Disk.open(tmp_path, RING)
    assert disk.storage.entries(16, 18, 1 << 20) == entries(16, 17, 5)
    disk.close()


def test_leftovers_of_an_interrupted_group_creation_do_not_reach_another_group(tmp_path: Path) -> None:
    create_group(tmp_path, RING, IDENTITY, b"of a cluster that never was")
    (tmp_path / "member.json").unlink()
    create_member(tmp_path, IDENTITY)
    disk = Disk.open(tmp_path, RING)
    assert disk.snapshot is None
    disk.close()


class Tight(FileOps):
    """A disk without space for another file until one is removed."""

    def __init__(self) -> None:
        self.freed: list[Path] = []

    def create(self, path: Path) -> int:
        if not self.freed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().create(path)

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.freed.append(path)


class Full(FileOps):
    """A disk without space for a new file, a given number of times."""

    def __init__(self, times: int) -> None:
        self._times = times

    def create(self, path: Path) -> int:
        self._times -= 1
        if self._times >= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().create(path)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("starts", [0, 1], ids=["after a write", "after a start without writes"])
async def test_a_start_on_a_full_disk_keeps_the_vote(tmp_path: Path, times: int, starts: int) -> None:
    """1. The snapshot covers the whole log, and only its last file holds the vote. 2. A start on a full disk removes what the snapshot
    covers, and perhaps still lacks space. 3. There is space again: the member must not vote twice in that term.
    """
    create_group(tmp_path, RING, IDENTITY, b"")
    disk = Disk.open(tmp_path, RING, segment_bytes=256)
    for index in range(2, 11):
        await save(disk, HardState(7, 3, index), entries(index, index))
    await disk.take_snapshot(snapshot(10))
    disk.close()
    for _ in range(starts):
        Disk.open(tmp_path, RING).close()
    with suppress(WriteFailedError):
        Disk.open(tmp_path, RING, files=Full(times)).close()
    disk = Disk.open(tmp_path, RING)
    assert disk.storage.initial_state()[0] == HardState(7, 3, 10)
    assert disk.storage.last_index() == 10
    await save(disk, HardState(8, 0, 10), entries(11, 11, 8))
    disk.close()
    disk = Disk.open(tmp_path, RING)
    assert disk.storage.initial_state()[0] == HardState(8, 0, 10)
    disk.close()


async def test_a_start_on_a_full_disk_removes_only_what_the_snapshot_covers(tmp_path: Path) -> None:
    """1. The disk fills up between a snapshot and the removal of what it covers. 2. Every start would fail if it did not remove that first."""
    create_group(tmp_path, RING, IDENTITY, b"")
    disk = Disk.open(tmp_path, RING, segment_bytes=256)
    for index in range(2, 41):
        await save(disk, HardState(1, 1, index), entries(index, index))
    with_nothing_to_give = tmp_path / "copy"
    disk.close()
    shutil.copytree(tmp_path, with_nothing_to_give, ignore=shutil.ignore_patterns("copy"))
    disk = Disk.open(tmp_path, RING)
    await disk.take_snapshot(snapshot(30))
    disk.close()
    tight = Tight()
    disk = Disk.open(tmp_path, RING, files=tight)
    assert disk.storage.snapshot().metadata.index == 30
    assert disk.storage.entries(31, 41, 1 << 20) == entries(31, 40)
    assert {path.suffix for path in tight.freed} == {".wal", ".snap"}
    disk.close()
    disk = Disk.open(tmp_path, RING)
    assert disk.storage.entries(31, 41, 1 << 20) == entries(31, 40)
    disk.close()
    with pytest.raises(
        WriteFailedError, match="No space left on device; .* free some space there, and the manager restarts by itself"
    ):
        Disk.open(with_nothing_to_give, RING, files=Tight())


def test_a_gap_between_snapshot_and_log_refuses_to_start() -> None:
    with pytest.raises(StorageError, match="entries between them are lost"):
        recover_log(snapshot(10), Replay(HardState(1, 1, 12), entries(12, 14), None))


def test_a_log_that_ends_before_the_commit_index_refuses_to_start() -> None:
    with pytest.raises(StorageError, match="entry 12 was committed"):
        recover_log(snapshot(10), Replay(HardState(1, 1, 12), entries(11, 11), None))


def test_a_directory_is_locked_by_one_process_at_a_time(tmp_path: Path) -> None:
    create_group(tmp_path, RING, IDENTITY, b"")
    disk = Disk.open(tmp_path, RING)
    with pytest.raises(InUseError, match="used by another process"):
        Disk.open(tmp_path, RING)
    disk.close()
    Disk.open(tmp_path, RING).close()


def test_a_member_is_created_once_before_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="create or join a cluster first"):
        Disk.open(tmp_path, RING)
    create_member(tmp_path, IDENTITY)
    with pytest.raises(StorageError, match="already belongs to a Raft member"):
        create_group(tmp_path, RING, IDENTITY, b"")


def test_a_snapshot_of_many_chunks_is_read_back_and_any_damage_is_detected(tmp_path: Path) -> None:
    folder = SnapshotFolder(tmp_path, RING)
    assert folder.open() is None
    big = snapshot(7, 2, bytes(range(256)) * 10_000)
    folder.save(big)
    assert folder.open() == big
    [path] = tmp_path.glob("*.snap")
    whole = path.read_bytes()
    for position in [*range(40), *range(40, len(whole), 50_021), len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(StorageError, match="is damaged at byte|is encrypted with data key"):
            folder.open()
    last_piece = (len(big.data) % (1 << 20)) + 16 + 4  # its seal and its length
    for size in (0, 10, len(whole) // 2, len(whole) - last_piece, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CorruptError):
            folder.open()


def test_a_snapshot_is_read_in_chunks_even_if_it_is_removed_meanwhile(tmp_path: Path) -> None:
    folder = SnapshotFolder(tmp_path, RING)
    big = snapshot(7, 2, os.urandom((2 << 20) + 5))
    folder.save(big)
    folder.save(snapshot(3, 1, b""))
    with folder.reader(3) as empty:
        assert (empty.metadata.index, empty.size, empty.read(), empty.read()) == (3, 0, b"", b"")
    with folder.reader(7) as reader:
        pieces = [reader.read()]
        for path in tmp_path.glob("*.snap"):
            path.unlink()
        pieces += iter(reader.read, b"")
    assert [len(piece) for piece in pieces] == [1 << 20, 1 << 20, 5]
    assert (reader.metadata, reader.size, b"".join(pieces)) == (big.metadata, len(big.data), big.data)


def test_old_snapshots_are_pruned_and_unfinished_ones_are_ignored(tmp_path: Path) -> None:
    folder = SnapshotFolder(tmp_path, RING)
    for index in (3, 5, 9):
        folder.save(snapshot(index))
    (tmp_path / "0000000000000011-0000000000000001.new").write_bytes(b"half")
    folder.prune(keep_old=1)
    for asked, answered in ((5, 5), (9, 9), (3, 9)):  # one that is gone is answered with the latest
        with folder.reader(asked) as reader:
            assert reader.metadata.index == answered
    assert folder.open().metadata.index == 9
    assert len(list(tmp_path.iterdir())) == 2
