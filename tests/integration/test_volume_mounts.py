"""Volumes with driver options on the real kernel: mounted with the first user, unmounted with the last one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.runtime import mounts
from agent.volume.local import VolumeStore
from covey.errors import CoveyError

pytestmark = [pytest.mark.root, pytest.mark.timeout(60)]


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[VolumeStore]:
    yield VolumeStore(tmp_path / "volumes")
    for target in mounts.mount_points_below(tmp_path):
        mounts.unmount(target)


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


async def test_a_volume_with_options_is_mounted_for_its_users_only(volumes: VolumeStore) -> None:
    volumes.create("data", options={"type": "tmpfs", "device": "tmpfs", "o": "size=64k,mode=750"})
    path = volumes.data_path("data")
    assert not mounts.is_mount_point(path)
    await volumes.use("data", "c1")
    await volumes.use("data", "c2")
    assert mounts.is_mount_point(path)
    assert path.stat().st_mode & 0o777 == 0o750
    await volumes.release("c1")
    assert mounts.is_mount_point(path)
    await volumes.release("c2")
    assert not mounts.is_mount_point(path)


async def test_what_nobody_uses_is_unmounted_at_the_next_start(volumes: VolumeStore, tmp_path: Path) -> None:
    for name in ("kept", "left"):
        volumes.create(name, options={"type": "tmpfs", "device": "tmpfs"})
        await volumes.use(name, "c1")
    again = VolumeStore(tmp_path / "volumes")
    again.adopt("c1", ["kept"])
    again.remove_leftovers()
    assert again.data_path("kept").is_mount()
    assert not again.data_path("left").is_mount()
    await again.release("c1")
    assert not again.data_path("kept").is_mount()


async def test_a_file_system_in_a_file_gets_a_loop_device_that_goes_with_the_mount(
    volumes: VolumeStore, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(2 << 20)
    run("mkfs.ext4", "-q", "-F", str(image))
    volumes.create("data", options={"type": "ext4", "device": str(image), "o": "loop"})
    path = await volumes.use("data", "c1")
    (path / "x").write_text("kept")
    assert str(image) in run("losetup", "--list")
    await volumes.release("c1")
    assert not (path / "x").exists()
    path = await volumes.use("data", "c1")
    assert (path / "x").read_text() == "kept"
    await volumes.release("c1")


async def test_removal_never_deletes_through_a_mount(volumes: VolumeStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    volumes.create("data", options={"type": "none", "device": str(outside), "o": "bind"})
    path = await volumes.use("data", "c1")
    assert (path / "precious").exists()
    await volumes.release("c1")
    assert not (path / "precious").exists()
    await volumes.remove("data")
    assert (outside / "precious").exists()


async def test_a_mount_that_fails_names_device_and_reason(volumes: VolumeStore) -> None:
    volumes.create("data", options={"type": "ext4", "device": "/dev/missing"})
    with pytest.raises(
        CoveyError, match="failed to mount local volume: mount /dev/missing:.*: no such file or directory"
    ):
        await volumes.use("data", "c1")
    assert volumes.users("data") == []
