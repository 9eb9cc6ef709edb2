"""Rotation of data keys through crashes at every step."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from covey import unlockkey
from manager.keys import DataKeys, LockedError, data_keys, node_key
from manager.keys.key_ring import KeyRing
from manager.keys.rotation import DesiredKeys, KeyRotator, RotationStep, plan
from manager.storage_errors import MissingKeyError, StorageError

PEM = b"-----BEGIN PRIVATE KEY-----\nthe node's key\n-----END PRIVATE KEY-----\n"
OLD, NEW = unlockkey.generate(), unlockkey.generate()


class Disk:
    """A manager's disk: the keys, the node's key and a log that is one sealed file. ``rotator`` opens it as a manager that starts."""

    def __init__(self, folder: Path) -> None:
        self.path, self.node_key, self.log = folder / "manager" / "keys", folder / "node.key", folder / "log"
        self.told: list[str] = []

    def begin(self, unlock_key: str) -> "Disk":
        self.path.parent.mkdir()
        keys = data_keys.new_keys(unlock_key)
        data_keys.write(self.path, keys)
        self.node_key.write_bytes(node_key.seal(keys.ring, PEM) if unlock_key else PEM)
        self._seal(keys.ring)
        return self

    def _seal(self, ring: KeyRing) -> None:
        head, cipher = ring.new_file_cipher(b"ALOGFILE", b"log")
        self.log.write_bytes(head + cipher.seal(0, b"entries"))

    async def reencrypt(self, ring: KeyRing) -> None:
        self.read_log(ring)
        self._seal(ring)

    def read_log(self, ring: KeyRing) -> bytes:
        data = self.log.read_bytes()
        return ring.existing_file_cipher(self.log, b"ALOGFILE", b"log", data).open(0, data[28:])

    def keys(self, *unlock_keys: str) -> DataKeys:
        keys = data_keys.read(self.path, unlock_keys)
        assert keys is not None
        return keys

    def rotator(self, *unlock_keys: str) -> KeyRotator:
        found = KeyRotator(self.path, self.node_key, self.keys(*unlock_keys), self.told.append)
        assert found.unseal(self.node_key.read_bytes()) == PEM
        assert self.read_log(found.ring) == b"entries"
        return found


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


async def to_the_end(rotator: KeyRotator, desired: DesiredKeys, reencrypt: Callable[[KeyRing], Awaitable[None]]) -> int:
    for count in itertools.count():
        if not await rotator.run_step(desired, reencrypt):
            return count
    raise AssertionError


CHANGES = pytest.mark.parametrize(("before", "after"), [("", NEW), (OLD, NEW), (OLD, "")], ids=["on", "rotated", "off"])


@CHANGES
async def test_a_manager_that_crashes_after_any_step_continues_to_the_new_key(
    disk: Disk, before: str, after: str
) -> None:
    """What the daemon was told, and the key of before, always open what is there."""
    disk.begin(before)
    first = disk.log.read_bytes()[8:12]
    desired = DesiredKeys(unlock_key=after, version=9)
    steps = 0
    while await disk.rotator(*disk.told, before or OLD).run_step(
        desired, disk.reencrypt
    ):  # a new process for each step
        steps += 1
    assert steps == (3 if after or before else 0)
    keys = data_keys.read(disk.path, (after,) if after else ())
    assert keys is not None
    assert (keys.retired_ids, keys.unlock_key, keys.version) == ((), after, 9)
    assert disk.log.read_bytes()[8:12] != first, "the log is sealed with another data key"
    assert (disk.node_key.read_bytes() == PEM) == (not after)
    if before and after:
        with pytest.raises(LockedError):
            data_keys.read(disk.path, (before,))


@CHANGES
async def test_a_manager_that_crashes_while_it_encrypts_again_continues(disk: Disk, before: str, after: str) -> None:
    disk.begin(before)
    desired = DesiredKeys(unlock_key=after, version=9)

    async def dies_before(_: KeyRing) -> None:
        raise StorageError("the power fails")

    async def dies_after(ring: KeyRing) -> None:
        await disk.reencrypt(ring)
        raise StorageError("the power fails")

    for reencrypt in (dies_before, dies_after, dies_before):
        with pytest.raises(StorageError):
            await to_the_end(disk.rotator(*disk.told, before or OLD), desired, reencrypt)
    assert await to_the_end(disk.rotator(*disk.told, before or OLD), desired, disk.reencrypt) == 1
    assert data_keys.read(disk.path, (after,) if after else ()) is not None


async def test_the_daemon_receives_a_key_before_the_file_needs_it(disk: Disk) -> None:
    disk.begin(OLD)

    def dies(_: str) -> None:
        raise StorageError("killed while it tells")

    with pytest.raises(StorageError):
        await KeyRotator(disk.path, disk.node_key, disk.keys(OLD), dies).run_step(
            DesiredKeys(unlock_key=NEW, version=2), disk.reencrypt
        )
    assert disk.rotator(OLD).unlock_key == OLD


async def test_an_unlock_key_that_changes_during_a_rotation_is_followed_too(disk: Disk) -> None:
    disk.begin(OLD)
    third = unlockkey.generate()
    await disk.rotator(OLD).run_step(DesiredKeys(unlock_key=NEW, version=2), disk.reencrypt)
    await to_the_end(disk.rotator(NEW), DesiredKeys(unlock_key=third, version=3), disk.reencrypt)
    keys = data_keys.read(disk.path, (third,))
    assert keys is not None
    assert keys.retired_ids == ()


def test_a_state_older_than_the_present_key_changes_nothing() -> None:
    """A manager that starts reads its snapshot first: it may say that managers are not locked, which was true once."""
    keys = data_keys.with_new_data_key(data_keys.new_keys(), NEW, 50)
    settled = data_keys.without_old_data_keys(keys)
    for stale in (DesiredKeys(unlock_key="", version=49), DesiredKeys(unlock_key=OLD, version=50)):
        assert plan(settled, stale, settled.ring.current) is None
    assert plan(settled, DesiredKeys(unlock_key="", version=51), settled.ring.current) is RotationStep.LOCK
    assert plan(keys, DesiredKeys(unlock_key="", version=1), keys.ring.current) is RotationStep.REENCRYPT, (
        "what was begun is ended"
    )


def test_without_a_replay_a_lower_version_belongs_to_a_restored_cluster() -> None:
    keys = data_keys.without_old_data_keys(data_keys.with_new_data_key(data_keys.new_keys(), NEW, 50))
    for unlock_key in ("", OLD):
        desired = DesiredKeys(unlock_key=unlock_key, version=7, replayed=False)
        assert plan(keys, desired, keys.ring.current) is RotationStep.LOCK
        followed = data_keys.without_old_data_keys(
            data_keys.with_new_data_key(keys, desired.unlock_key, desired.version)
        )
        assert plan(followed, desired, followed.ring.current if unlock_key else node_key.PLAIN) is None


async def test_a_node_key_read_before_a_rotation_still_decrypts(disk: Disk) -> None:
    disk.begin(OLD)
    rotator = disk.rotator(OLD)
    read_before = disk.node_key.read_bytes()
    await to_the_end(rotator, DesiredKeys(unlock_key=NEW, version=2), disk.reencrypt)
    assert rotator.unseal(read_before) == PEM
    with pytest.raises(MissingKeyError):
        node_key.unseal(disk.rotator(NEW).ring, disk.node_key, read_before)


async def test_a_failed_write_is_retried(disk: Disk) -> None:
    """A folder stands where the file is written first, as good as a full disk."""
    keys = disk.begin("").keys()
    desired, twice = DesiredKeys(unlock_key=NEW, version=2), asyncio.Event()

    def tell(unlock_key: str) -> None:
        disk.told.append(unlock_key)
        if len(disk.told) > 1:
            twice.set()

    found = KeyRotator(disk.path, disk.node_key, keys, tell)
    in_the_way = disk.path.with_name(f".{disk.path.name}.new")
    in_the_way.mkdir()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        running = group.create_task(found.run(lambda: desired, disk.reencrypt))
        await twice.wait()
        in_the_way.rmdir()
        await found.wait_rotated()
        running.cancel()
    assert data_keys.is_locked(disk.path)
    assert set(disk.told) == {NEW}


def test_a_changed_encrypted_node_key_is_refused(disk: Disk) -> None:
    ring = KeyRing.of(bytes(32))
    sealed = bytearray(node_key.seal(ring, PEM))
    assert node_key.sealed_with(bytes(sealed)) == 1
    assert node_key.sealed_with(PEM) == node_key.PLAIN
    sealed[-1] ^= 1
    with pytest.raises(StorageError, match="damaged"):
        node_key.unseal(ring, disk.node_key, bytes(sealed))
