"""A commit that is interrupted leaves nothing visible, gives its space back, and leaves no container paused."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.container.commands.commit import frozen_layer
from agent.container.model import RunStatus
from agent.runtime import mounts
from tests.support.api_daemon import Daemon, running
from tests.support.image_archives import image

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]


@contextlib.asynccontextmanager
async def small_image(folder: Path) -> AsyncIterator[Daemon]:
    async with running(folder) as daemon:
        busybox = image({"bin/busybox": Path("/bin/busybox").read_bytes()})
        await daemon.docker("load", stdin=busybox.archive(["box:1"]))
        yield daemon


async def start(daemon: Daemon) -> str:
    options = ("--name", "work", "--network", "none", "box:1", "/bin/busybox")
    script = "/bin/busybox dd if=/dev/zero of=/big bs=1M count=64 2>/dev/null; exec /bin/busybox sleep 1000"
    await daemon.docker("run", "-d", *options, "sh", "-c", script)
    async with asyncio.timeout(20):
        while (await daemon.docker("exec", "work", "/bin/busybox", "ls", "-l", "/big"))[0].find("67108864") < 0:  # noqa: ASYNC110  no event for it
            await asyncio.sleep(0.05)
    return daemon.agent.containers.get("work").id


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "images.db" not in path.name}


async def test_a_client_that_leaves_a_commit_leaves_nothing_behind(tmp_path: Path) -> None:
    async with small_image(tmp_path) as daemon:
        await start(daemon)
        before = files_below(tmp_path / "state/images")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.15):
                await daemon.request("POST", "/commit?container=work&repo=made&tag=1")
        async with asyncio.timeout(20):
            while files_below(tmp_path / "state/images") != before:  # noqa: ASYNC110  no event for it
                await asyncio.sleep(0.05)
        assert [picture.repo_tags for picture in daemon.agent.images.list()] == [("box:1",)]
        assert daemon.agent.containers.get("work").state.status is RunStatus.RUNNING
        await daemon.docker("commit", "work", "made:1")
        await daemon.docker("rm", "-f", "work")


async def test_the_next_daemon_removes_what_a_killed_one_had_staged_and_thaws_the_container(tmp_path: Path) -> None:
    async with small_image(tmp_path) as daemon:
        container_id = await start(daemon)
        before = files_below(tmp_path / "state/images")
        held = frozen_layer(daemon.agent.containers, container_id)
        await held.__aenter__()
        assert daemon.agent.containers.get("work").state.status is RunStatus.PAUSED
        staging = daemon.agent.images.repository.content.stage()
        (staging / "layer.tar").write_bytes(b"half")
        # the daemon is gone from here on, without leaving the block
    async with running(tmp_path) as daemon:
        try:
            assert files_below(tmp_path / "state/images") == before
            assert daemon.agent.containers.get("work").state.status is RunStatus.RUNNING
            out, _ = await daemon.docker("exec", "work", "/bin/busybox", "echo", "alive")
            assert out == "alive\n"
        finally:
            await daemon.docker("rm", "-f", "work")


async def test_a_full_disk_ends_a_commit_and_the_space_comes_back(tmp_path: Path) -> None:
    images = tmp_path / "state/images"
    images.mkdir(parents=True)
    mounts.mount("tmpfs", str(images), "tmpfs", 0, "size=40m")  # room for the image, not for 64 MB more
    try:
        async with small_image(tmp_path) as daemon:
            await start(daemon)
            before, free = files_below(images), os.statvfs(images).f_bavail
            _, err = await daemon.docker("commit", "work", "made:1", check=1)
            assert "the disk is full" in err
            assert files_below(images) == before
            assert os.statvfs(images).f_bavail >= free - 16
            assert daemon.agent.containers.get("work").state.status is RunStatus.RUNNING
            await daemon.docker("rm", "-f", "work")
    finally:
        mounts.unmount(str(images))
