"""Full disk of a Raft member on a small real file system: it stops with a reason, loses nothing, and returns when there is space."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.raft_processes import CommandError, RaftGroup, RaftProcess, raft_group, until

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]
DISK_BYTES = 12 << 20
FREE_BYTES = 600 << 10


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A small ext4 file system."""
    missing = [name for name in ("mkfs.ext4", "mount", "umount") if not shutil.which(name)]
    assert not missing, f"needs {', '.join(missing)}"
    image, point = tmp_path / "image", tmp_path / "small"
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    point.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", "--lazy", point], check=True)


def fill(folder: Path) -> Path:
    """Fill the file system except for a little space."""
    ballast = folder / "ballast"
    room = os.statvfs(folder)
    ballast.write_bytes(os.urandom(room.f_bavail * room.f_bsize - FREE_BYTES))
    with ballast.open("rb") as file:
        os.fsync(file.fileno())
    return ballast


async def write_until_it_ends(group: RaftGroup, victim: RaftProcess, acknowledged: set[str]) -> None:
    """Write through the leader until the victim has exited. A write without an answer may or may not exist."""
    number = len(acknowledged)
    async with asyncio.timeout(60):
        while victim.is_running:
            leader = await group.leader()
            name, number = f"n{number}", number + 1
            try:
                await leader("create", name=name, size=16 << 10)
            except (CommandError, TimeoutError):
                continue
            acknowledged.add(name)


@pytest.mark.parametrize("name", ["alpha", "gamma"], ids=["the leader's", "a follower's"])
async def test_a_full_disk_stops_only_its_member_which_returns_when_there_is_space(
    tmp_path: Path, small_disk: Path, name: str
) -> None:
    acknowledged: set[str] = set()
    async with raft_group(tmp_path) as group:
        for one in ("alpha", "beta", "gamma"):
            await group.add(one, **({"folder": str(small_disk / "raft")} if one == name else {}))
        await group.wait_voters(3)
        victim = group.members[name]
        ballast = fill(small_disk)
        await write_until_it_ends(group, victim, acknowledged)
        assert acknowledged
        assert (
            "No space left on device; this manager stops so that nothing is lost; free some space there"
            in victim.stderr_text()
        )

        before = len(acknowledged)
        leader = await group.leader()
        for number in range(20):
            await leader("create", name=f"later{number}")
            acknowledged.add(f"later{number}")
        assert len(acknowledged) == before + 20
        for other in group.members.values():
            if other.is_running:
                assert acknowledged <= set(await other("names", fresh=True))

        for _ in range(3):  # restart as the daemon does: on the full disk it exits each time
            try:
                await victim.start()
            except AssertionError:
                continue
            await write_until_it_ends(group, victim, acknowledged)
        assert not victim.is_running
        ballast.unlink()
        await victim.start()

        async def caught_up() -> bool:
            return acknowledged <= set(await victim("names", fresh=True))

        await until(caught_up, "all acknowledged writes on the returned member")
