"""Re-encryption under a new data key: new files at once, old files rewritten while writes continue."""

import asyncio
from pathlib import Path

import pytest

from manager.keys.key_ring import HEAD_BYTES, KeyRing, key_id_of
from manager.raft.core import ConfState, Entry, HardState, Snapshot, SnapshotMeta
from manager.raft.disk import Disk, MemberIdentity, create_group
from manager.storage_errors import MissingKeyError, StorageError, WriteFailedError

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
BEFORE, BOTH, AFTER = KeyRing.of(OLD), KeyRing({1: OLD, 2: NEW}, 2), KeyRing({2: NEW}, 2)
CONF = ConfState(voters=(1,))


def entry(index: int) -> Entry:
    return Entry(1, index, data=b"%d" % index * 10)


def key_ids(folder: Path) -> set[int]:
    files = [path for path in folder.rglob("*") if path.suffix in {".wal", ".snap", ".new"}]
    return {key_id_of(path.read_bytes()[:HEAD_BYTES]) for path in files}


def founded(folder: Path) -> Path:
    create_group(folder, BEFORE, MemberIdentity(cluster_id="c", raft_id=1, node_id="n"), b"beginning")
    return folder


async def save(disk: Disk, index: int) -> None:
    hard, entries = HardState(1, 1, index - 1), [entry(index)]
    await disk.begin_save(hard, entries, None)
    disk.finish_save(hard, entries, None)


async def test_after_reencryption_no_file_needs_the_old_key_and_nothing_is_missing(tmp_path: Path) -> None:
    disk = Disk.open(founded(tmp_path), BEFORE, segment_bytes=600)
    for index in range(2, 30):
        await save(disk, index)
    await disk.take_snapshot(Snapshot(SnapshotMeta(12, 1, CONF), b"state"))
    await disk.compact(SnapshotMeta(12, 1, CONF), keep_entries=5, keep_old_snapshots=1)

    async def go_on() -> None:
        for index in range(30, 60):
            await save(disk, index)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(go_on())
        await disk.reencrypt(BOTH)
    disk.close()
    assert key_ids(tmp_path) == {2}
    assert len(list((tmp_path / "snapshots").iterdir())) == 2
    again = Disk.open(tmp_path, AFTER)
    assert again.storage.last_index() == 59
    assert again.storage.entries(8, 60, 1 << 20) == [entry(index) for index in range(8, 60)]
    assert again.snapshot.data == b"state"
    again.close()


async def test_an_interrupted_reencryption_is_readable_with_both_keys_and_can_be_repeated(tmp_path: Path) -> None:
    disk = Disk.open(founded(tmp_path), BEFORE, segment_bytes=300)
    for index in range(2, 12):
        await save(disk, index)
    disk.close()
    disk = Disk.open(tmp_path, BOTH, segment_bytes=300)
    await save(disk, 12)
    disk.close()
    assert key_ids(tmp_path) == {1, 2}
    disk = Disk.open(tmp_path, BOTH)
    await disk.reencrypt(BOTH)
    disk.close()
    disk = Disk.open(tmp_path, AFTER)
    assert disk.storage.last_index() == 12
    disk.close()


def test_a_file_of_an_unknown_key_is_refused_by_its_id(tmp_path: Path) -> None:
    with pytest.raises(
        MissingKeyError, match="is encrypted with data key 1, but this manager has only 2: restore the key file"
    ):
        Disk.open(founded(tmp_path), AFTER)


async def test_a_segment_released_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    disk = Disk.open(founded(tmp_path), BEFORE, segment_bytes=1)
    for index in range(2, 6):
        await save(disk, index)
    await disk.take_snapshot(Snapshot(SnapshotMeta(3, 1, CONF), b"state"))
    path = disk._wal.set_ring(BOTH)[0]
    fresh = disk._wal.reencrypt(path)
    disk._wal.release(3)
    disk._wal.replace(path, fresh)
    assert not path.exists()
    assert not list((tmp_path / "wal").glob("*.new"))
    disk.close()
    disk = Disk.open(tmp_path, BOTH)
    assert disk.storage.last_index() == 5
    disk.close()


async def test_after_a_failed_write_of_a_reencryption_no_save_succeeds(tmp_path: Path) -> None:
    disk = Disk.open(founded(tmp_path), BEFORE)
    await save(disk, 2)
    next_segment = tmp_path / "wal" / f"{2:016x}.new"
    next_segment.mkdir()
    with pytest.raises(WriteFailedError):
        await disk.reencrypt(BOTH)
    next_segment.rmdir()
    with pytest.raises(WriteFailedError):
        await save(disk, 3)
    disk.close()


def test_a_key_ring_refuses_invalid_keys_and_never_prints_one() -> None:
    for keys, current, reason in (
        ({1: b"short"}, 1, "must have 32 bytes, not 5"),
        ({0: OLD}, 0, "is not a valid id"),
        ({1: OLD}, 2, "is missing"),
    ):
        with pytest.raises(ValueError, match=reason):
            KeyRing(keys, current)
    assert repr(BOTH) == "KeyRing([1, 2], current=2)"


@pytest.mark.parametrize("position", range(HEAD_BYTES))
def test_a_flipped_bit_in_the_head_is_refused(tmp_path: Path, position: int) -> None:
    path = next((founded(tmp_path) / "snapshots").iterdir())
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(StorageError, match=r"damaged|encrypted with data key"):
        Disk.open(tmp_path, BOTH)
