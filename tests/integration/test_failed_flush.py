"""Failed fsync on a real kernel: a restart must not trust entries that are only in the page cache.

After a failed fsync the kernel marks the pages clean: reads return them, but they are never written to disk.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.keys.key_ring import KeyRing
from manager.raft.core import Entry, HardState
from manager.raft.disk import Disk, MemberIdentity, create_group
from manager.storage_errors import WriteFailedError

pytestmark = [pytest.mark.root, pytest.mark.timeout(60)]
RING = KeyRing.of(bytes(32))
IDENTITY = MemberIdentity(cluster_id="c", raft_id=1, node_id="n")


def mount(image: Path, point: Path) -> None:
    """Without a journal the file system continues after an error, as on a disk with some bad sectors."""
    subprocess.run(["mount", "-o", "loop,errors=continue", image, point], check=True)


def drop_page_cache(image: Path, point: Path) -> None:
    subprocess.run(["umount", point], check=True)
    mount(image, point)


@pytest.fixture
def thin_disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Image of a file system and its mount point. The image is sparse and in a folder that can be filled: then writes of the file system
    fail.
    """
    missing = [name for name in ("mkfs.ext4", "mount", "umount") if not shutil.which(name)]
    assert not missing, f"needs {', '.join(missing)}"
    below, point = tmp_path / "below", tmp_path / "disk"
    below.mkdir()
    point.mkdir()
    image = below / "image"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", below], check=True)
    try:
        with image.open("wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "nodiscard", image], check=True)
        mount(image, point)
        yield image, point
    finally:
        subprocess.run(["umount", "--lazy", point], check=False)
        subprocess.run(["umount", "--lazy", below], check=True)


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(fd, bytes(4096))
    except OSError:
        return ballast
    finally:
        os.close(fd)


async def save(disk: Disk, index: int, size: int) -> None:
    hard, new = HardState(5, 2, index - 1), [Entry(5, index, data=os.urandom(size))]
    await disk.begin_save(hard, new, None)
    disk.finish_save(hard, new, None)


def start(folder: Path) -> tuple[HardState, list[Entry]]:
    """Hard state and entries that a start finds."""
    disk = Disk.open(folder, RING)
    try:
        return disk.storage.initial_state()[0], disk.storage.entries(2, disk.storage.last_index() + 1, 1 << 30)
    finally:
        disk.close()


async def test_entries_found_at_a_start_after_a_failed_flush_are_on_disk(
    thin_disk: tuple[Path, Path],
) -> None:
    """1. A flush fails and the manager exits. 2. After a restart it reads the entries of the failed flush from the page cache. 3. The power
    fails: everything that the manager has read must be on disk.
    """
    image, point = thin_disk
    folder = point / "raft"
    create_group(folder, RING, IDENTITY, b"")
    disk = Disk.open(folder, RING)
    await save(disk, 2, 1000)
    ballast = fill(image.parent)
    with pytest.raises(WriteFailedError):
        await save(disk, 3, 2 << 20)
    disk.close()
    ballast.unlink()

    found = start(folder)
    drop_page_cache(image, point)
    assert start(folder) == found
    assert len(found[1]) == 2, "the page cache did not have the unwritten entry, so the test proves nothing"
