"""A creation of a container that was interrupted: its volumes are undone by the next daemon, others are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.volume.pending import PendingCreation
from tests.support.api_daemon import running
from tests.support.image_archives import image

pytestmark = [pytest.mark.root, pytest.mark.timeout(60)]


async def test_the_next_daemon_undoes_the_volumes_of_a_container_that_was_never_recorded(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        volumes = daemon.agent.volumes
        for name in ("made", "filled", "other"):
            volumes.create(name)
            (volumes.data_path(name) / "part").write_text("half of the image's files")
        volumes.pending.write("f" * 64, PendingCreation(created=("made",), filled=("made", "filled")))
    async with running(tmp_path) as daemon:
        volumes = daemon.agent.volumes
        assert [volume.name for volume in volumes.list()] == ["filled", "other"]
        assert list(volumes.data_path("filled").iterdir()) == []
        assert (volumes.data_path("other") / "part").exists()


async def test_a_container_that_was_recorded_keeps_its_volumes(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        busybox = image({"bin/busybox": Path("/bin/busybox").read_bytes()})
        await daemon.docker("load", stdin=busybox.archive(["box:1"]))
        out, _ = await daemon.docker("create", "-v", "kept:/x", "box:1")
        daemon.agent.volumes.pending.write(out.strip(), PendingCreation(created=("kept",), filled=("kept",)))
        (daemon.agent.volumes.data_path("kept") / "x").touch()
    async with running(tmp_path) as daemon:
        assert (daemon.agent.volumes.data_path("kept") / "x").exists()
        await daemon.docker("rm", "-v", out.strip())
        assert daemon.agent.volumes.exists("kept")


async def test_a_creation_that_fails_at_its_end_leaves_no_volume(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        busybox = image({"bin/busybox": Path("/bin/busybox").read_bytes(), "data/x": b"x"})
        await daemon.docker("load", stdin=busybox.archive(["box:1"]))
        mount = "type=volume,source=bad,target=/data,volume-opt=type=ext4,volume-opt=device=/dev/missing"
        _, err = await daemon.docker("create", "-v", "/anonymous", "--mount", mount, "box:1", check=1)
        assert "failed to mount local volume" in err
        assert daemon.agent.volumes.list() == []
        assert daemon.agent.containers.list() == []
        assert list((tmp_path / "state/containers").iterdir()) == []
