"""Images through the real docker client and SDK, over the real image store."""

import asyncio
import io
import json
import tarfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.api_daemon import Daemon, running


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(tmp_path) as made:
        yield made


def root_tar(text: bytes = b"words\n") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in (("etc/hello", text), ("bin/sh", b"#!")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


async def imported(daemon: Daemon, name: str = "demo:1", *flags: str) -> str:
    out, _ = await daemon.docker("import", *flags, "-", name, stdin=root_tar())
    return out.strip()


async def test_an_imported_image_is_listed_inspected_and_removed(daemon: Daemon) -> None:
    image_id = await imported(
        daemon, "demo:1", "--change", 'CMD ["/bin/sh"]', "--change", "LABEL a=b", "-m", "made here"
    )
    out, _ = await daemon.docker("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
    assert out.split() == ["demo:1", image_id]
    out, _ = await daemon.docker("image", "inspect", "demo:1")
    shown = json.loads(out)[0]
    assert shown["Config"]["Cmd"] == ["/bin/sh"]
    assert shown["Config"]["Labels"] == {"a": "b"}
    assert shown["Comment"] == "made here"
    out, _ = await daemon.docker("history", "demo:1", "--format", "{{.Comment}}")
    assert out.strip() == "made here"
    out, _ = await daemon.docker("images", "-q", "--filter", "label=a=c")
    assert out == ""
    await daemon.docker("tag", "demo:1", "other/name:2")
    out, _ = await daemon.docker("rmi", "demo:1")
    assert out.strip() == "Untagged: demo:1"
    out, _ = await daemon.docker("rmi", "other/name:2")
    assert f"Deleted: {image_id}" in out
    _, err = await daemon.docker("image", "inspect", "demo:1", check=1)
    assert "demo:1" in err


async def test_a_saved_image_is_the_same_when_loaded(daemon: Daemon, tmp_path: Path) -> None:
    image_id = await imported(daemon)
    await daemon.docker("save", "-o", str(tmp_path / "image.tar"), "demo:1")
    await daemon.docker("rmi", "demo:1")
    out, _ = await daemon.docker("load", "-i", str(tmp_path / "image.tar"))
    assert "Loaded image: demo:1" in out
    out, _ = await daemon.docker("images", "-q", "--no-trunc")
    assert out.strip() == image_id
    loaded = await daemon.sdk(lambda client: client.images.load((tmp_path / "image.tar").read_bytes())[0].id)
    assert loaded == image_id


async def test_an_invalid_archive_is_refused_with_the_error_of_the_store(daemon: Daemon) -> None:
    _, err = await daemon.docker("load", stdin=b"this is no tar archive" * 100, check=1)
    assert err.strip()
    assert "internal error" not in err
    out, _ = await daemon.docker("images", "-q")
    assert out == ""


async def test_what_is_not_supported_says_what_to_do_instead(daemon: Daemon) -> None:
    await imported(daemon)
    _, err = await daemon.docker("pull", "127.0.0.1:1/busybox", check=1)
    assert "dial tcp 127.0.0.1:1: connect: connection refused" in err
    _, err = await daemon.docker("push", "nothing:1", check=1)
    assert "An image does not exist locally with the tag: nothing" in err


async def test_untagged_images_are_pruned(daemon: Daemon) -> None:
    first = await imported(daemon)
    await daemon.docker("import", "-", "demo:1", stdin=root_tar(b"other\n"))
    out, _ = await daemon.docker("images", "-q", "--no-trunc", "--filter", "dangling=true")
    assert out.split() == [first]
    out, _ = await daemon.docker("image", "prune", "--force")
    assert first in out
    out, _ = await daemon.docker("system", "df", "--format", "{{.Type}} {{.TotalCount}}")
    assert out.splitlines()[0] == "Images 1"


async def test_image_events_are_streamed_and_kept_for_a_while(daemon: Daemon) -> None:
    async with daemon.session() as session, session.get("/events") as stream:
        image_id = await imported(daemon)
        async with asyncio.timeout(10):
            event = json.loads(await stream.content.readline())
        assert (event["Type"], event["Action"], event["Actor"]["ID"]) == ("image", "import", image_id)
        assert event["scope"] == "local"
    until = str(int(time.time()) + 1)
    out, _ = await daemon.docker("events", "--since", "1m", "--until", until, "--format", "{{.Type}} {{.Action}}")
    assert out.split() == ["image", "import"]
    out, _ = await daemon.docker("events", "--since", "1m", "--until", until, "--filter", "type=container")
    assert out == ""


async def test_volumes_are_created_listed_and_removed(daemon: Daemon) -> None:
    await daemon.docker("volume", "create", "--label", "a=b", "data")
    out, _ = await daemon.docker("volume", "ls", "--format", "{{.Name}} {{.Driver}}")
    assert out.split() == ["data", "local"]
    out, _ = await daemon.docker("volume", "inspect", "data", "--format", "{{.Mountpoint}} {{.Labels.a}}")
    assert out.split() == [str(daemon.agent.volumes.data_path("data")), "b"]
    _, err = await daemon.docker("volume", "create", "--driver", "nfs", "x", check=1)
    assert 'create x: error looking up volume plugin nfs: plugin "nfs" not found' in err
    await daemon.docker("volume", "prune", "--force")
    assert len(daemon.agent.volumes.list()) == 1
    out, _ = await daemon.docker("volume", "prune", "--all", "--force")
    assert "data" in out
    _, err = await daemon.docker("volume", "rm", "data", check=1)
    assert "no such volume" in err
