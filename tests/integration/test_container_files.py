"""Files of containers through the real docker client: cp, diff, export, commit and volumes, on real runc and overlayfs."""

from __future__ import annotations

import asyncio
import io
import json
import os
import secrets
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.runtime import mounts
from tests.support.api_daemon import Daemon, running
from tests.support.image_archives import image

pytestmark = [pytest.mark.root, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
BUSYBOX = Path("/bin/busybox").read_bytes()
SETUP = "/bin/busybox mkdir -p /proc /sys && /bin/busybox --install -s /bin"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Daemon]:
    """One daemon with the image `box`, in which /data belongs to user 33 and has a file."""
    folder = tmp_path_factory.mktemp("files")
    made = image(
        {
            "bin/busybox": BUSYBOX,
            "data/seed": b"seed",
            "etc/passwd": b"root:x:0:0::/:/bin/sh\nweb:x:33:44::/:/bin/sh\n",
        },
        Env=["PATH=/bin"],
    )
    async with running(folder) as daemon:
        await daemon.docker("load", stdin=made.archive(["base:1"]))
        name = await run(daemon, "base:1", SETUP + " && chown 33:44 /data && chmod 750 /data")
        await daemon.docker("commit", "-c", 'CMD ["sleep", "1000"]', name, "box:1")
        await daemon.docker("rm", name)
        yield daemon
        for container in daemon.agent.containers.list():
            await daemon.docker("rm", "-f", "-v", container.id)
        assert mounts.mount_points_below(folder) == []


async def run(daemon: Daemon, name: str, script: str, *options: str) -> str:
    """Run a script in a new container to its end. Returns the container's name."""
    container = f"c{secrets.token_hex(4)}"
    await daemon.docker(
        "run", "--name", container, "--network", "none", *options, name, "/bin/busybox", "sh", "-c", script
    )
    return container


async def started(daemon: Daemon, *options: str) -> str:
    container = f"c{secrets.token_hex(4)}"
    await daemon.docker("run", "-d", "--name", container, "--network", "none", *options, "box:1")
    return container


async def created(daemon: Daemon, *options: str) -> str:
    container = f"c{secrets.token_hex(4)}"
    await daemon.docker("create", "--name", container, "--network", "none", *options, "box:1")
    return container


@pytest.mark.parametrize("state", ["running", "stopped"])
async def test_cp_goes_both_ways_into_the_root_and_into_mounts(daemon: Daemon, tmp_path: Path, state: str) -> None:
    make = started if state == "running" else created
    # The bound folder is not that of the sources: the client still reads a file whose header it has sent, and would read the copy.
    (tmp_path / "bound").mkdir()
    name = await make(daemon, "-v", "/vol", "-v", f"{tmp_path}/bound:/bound", "-v", "locked:/locked:ro")
    (tmp_path / "tree/d").mkdir(parents=True)
    (tmp_path / "tree/d/f").write_text("text")
    (tmp_path / "tree/l").symlink_to("/etc/passwd")
    for target in ("/", "/vol", "/bound"):
        await daemon.docker("cp", f"{tmp_path}/tree", f"{name}:{target}")
        await daemon.docker("cp", f"{name}:{target}/tree", f"{tmp_path}/back")
        assert (tmp_path / "back/d/f").read_text() == "text"
        assert os.readlink(tmp_path / "back/l") == "/etc/passwd"  # noqa: PTH115  the text itself
        await asyncio.to_thread(subprocess.run, ["rm", "-r", str(tmp_path / "back")], check=True)
    assert (tmp_path / "bound/tree/d/f").read_text() == "text"
    _, err = await daemon.docker("cp", f"{tmp_path}/tree", f"{name}:/locked", check=1)
    assert "mounted volume is marked read-only" in err
    _, err = await daemon.docker("cp", f"{name}:/none", str(tmp_path), check=1)
    assert f"Could not find the file /none in container {name}" in err
    await daemon.docker("cp", "-L", f"{name}:/bin/sh", f"{tmp_path}/followed")
    assert (tmp_path / "followed").read_bytes() == BUSYBOX


async def test_tmpfs_of_a_running_container_and_a_read_only_root(daemon: Daemon, tmp_path: Path) -> None:
    name = await started(daemon, "--read-only", "--tmpfs", "/scratch")
    (tmp_path / "f").write_text("text")
    await daemon.docker("cp", f"{tmp_path}/f", f"{name}:/scratch/f")
    out, _ = await daemon.docker("exec", name, "cat", "/scratch/f")
    assert out == "text"
    _, err = await daemon.docker("cp", f"{tmp_path}/f", f"{name}:/f", check=1)
    assert "container rootfs is marked read-only" in err


async def test_a_link_that_leads_out_ends_inside_the_root(daemon: Daemon, tmp_path: Path) -> None:
    name = await started(daemon)
    await daemon.docker("exec", name, "ln", "-s", f"../../../../../../..{tmp_path}", "/out")
    (tmp_path / "secret").write_text("of the host")
    _, err = await daemon.docker("cp", f"{name}:/out/secret", "-", check=1)
    assert "Could not find the file" in err
    await daemon.docker("exec", name, "mkdir", "-p", str(tmp_path))
    await daemon.docker("cp", f"{tmp_path}/secret", f"{name}:/out/written")
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


async def test_diff_lists_what_the_user_changed_and_nothing_else(daemon: Daemon) -> None:
    name = await started(daemon)
    assert (await daemon.docker("diff", name))[0] == ""
    await daemon.docker(
        "exec", name, "sh", "-c", "echo x >> /etc/passwd; touch /etc/new; rm /bin/vi; test -e /.dockerenv"
    )
    out, _ = await daemon.docker("diff", name)
    assert out.splitlines() == ["C /bin", "D /bin/vi", "C /etc", "A /etc/new", "C /etc/passwd"]


async def test_export_has_the_root_without_mounts(daemon: Daemon) -> None:
    name = await run(daemon, "box:1", "echo new > /new; echo hidden > /vol/hidden", "-v", "/vol")
    async with daemon.session() as session, session.get(f"/containers/{name}/export") as response:
        data = await response.read()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = set(archive.getnames())
    assert {"new", "bin/busybox", "data/seed", "vol", "etc/hosts"} <= names
    assert "vol/hidden" not in names


async def test_commit_makes_a_layer_of_the_changes(daemon: Daemon) -> None:
    name = await started(daemon, "-e", "A=1", "-l", "own=yes")
    await daemon.docker("exec", name, "sh", "-c", "rm -r /data; mkdir /data; touch /data/again; rm /bin/vi")
    out, _ = await daemon.docker(
        "commit", "-a", "me", "-m", "why", "-c", "ENV B=2", "-c", 'ENTRYPOINT ["ls"]', name, "made:1"
    )
    image_id = out.strip()
    found = daemon.agent.images.get("made:1")
    base = daemon.agent.images.get("box:1")
    assert found.id == image_id
    assert found.parent == base.id
    assert found.diff_ids[:-1] == base.diff_ids
    assert (found.author, found.comment, found.history[-1].created_by) == ("me", "why", "sleep 1000")
    assert {"A=1", "B=2"} <= set(found.config.env)
    assert (found.config.entrypoint, found.config.cmd, found.config.labels) == (("ls",), None, {"own": "yes"})
    out, _ = await daemon.docker("run", "--rm", "--network", "none", "made:1", "/data", "/bin/vi", check=1)
    assert out.split() == ["/data:", "again"]
    assert daemon.agent.containers.get(name).state.status == "running"
    saved, _ = await daemon.docker("inspect", "-f", "{{.State.Paused}}", name)
    assert saved.strip() == "false"


async def test_a_commit_without_changes_adds_no_layer(daemon: Daemon) -> None:
    name = await created(daemon)
    out, _ = await daemon.docker("commit", name)
    found = daemon.agent.images.get(out.strip())
    assert found.diff_ids == daemon.agent.images.get("box:1").diff_ids
    assert found.history[-1].empty_layer


async def test_an_empty_volume_gets_the_files_of_the_image_with_their_owner(daemon: Daemon) -> None:
    await created(daemon, "-v", "filled:/data")
    path = daemon.agent.volumes.data_path("filled")
    assert [item.name for item in path.iterdir()] == ["seed"]
    found = path.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (33, 44, 0o750)
    await created(daemon, "-v", "bare:/data:nocopy")
    assert list(daemon.agent.volumes.data_path("bare").iterdir()) == []


async def test_the_backup_recipe_works_both_ways(daemon: Daemon, tmp_path: Path) -> None:
    await run(daemon, "box:1", "echo kept > /data/precious", "-v", "source:/data")
    await run(daemon, "box:1", "tar cf /backup/b.tar -C /data .", "-v", "source:/data", "-v", f"{tmp_path}:/backup")
    await run(daemon, "box:1", "tar xf /backup/b.tar -C /restored", "-v", "copy:/restored", "-v", f"{tmp_path}:/backup")
    assert (daemon.agent.volumes.data_path("copy") / "precious").read_text() == "kept\n"


async def test_volumes_from_images_and_paths_below_them(daemon: Daemon) -> None:
    source = await created(daemon, "-v", "/anon", "-v", "shared:/data")
    script = "grep -E ' /(anon|data|img|sub) ' /proc/mounts | cut -d' ' -f2,4 | cut -d, -f1"
    options = ("--volumes-from", f"{source}:ro", "--mount", "type=image,source=box:1,target=/img")
    sub = ("--mount", "type=volume,source=shared,target=/sub,volume-subpath=seed")
    name = await run(daemon, "box:1", script, *options, *sub)
    out, _ = await daemon.docker("logs", name)
    assert sorted(out.splitlines()) == ["/anon ro", "/data ro", "/img ro", "/sub rw"]
    await run(daemon, "box:1", "ln -s /etc /data/out", "-v", "shared:/data")
    _, err = await daemon.docker(
        "run", "--rm", "--mount", "type=volume,source=shared,target=/sub,volume-subpath=out", "box:1", check=125
    )
    assert "cannot access path" in err


async def test_what_is_refused_creates_nothing(daemon: Daemon) -> None:
    before = {volume.name for volume in daemon.agent.volumes.list()}
    for options, words in (
        (("--mount", "type=bind,source=/none,target=/x"), "bind source path does not exist: /none"),
        (("--mount", "type=volume,source=fresh,target=/x,volume-opt=foo=1"), 'create fresh: invalid option: "foo"'),
        (("-v", "fresh:/x", "--volumes-from", "nobody"), "No such container: nobody"),
        (("-v", "/x", "--mount", "type=bind,source=/none,target=/y"), "does not exist"),
    ):
        _, err = await daemon.docker("create", *options, "box:1", check=1)
        assert words in err
    assert {volume.name for volume in daemon.agent.volumes.list()} == before


async def test_volumes_in_use_are_refused_by_their_users(daemon: Daemon) -> None:
    name = await created(daemon, "-v", "used:/x")
    _, err = await daemon.docker("volume", "rm", "used", check=1)
    assert f"remove used: volume is in use - [{daemon.agent.containers.get(name).id}]" in err
    await daemon.docker("volume", "rm", "-f", "missing")
    out, _ = await daemon.docker("volume", "ls", "-q", "--filter", "dangling=false", "--filter", "name=used")
    assert out.split() == ["used"]


async def test_prune_takes_named_volumes_before_api_1_42_and_answers_lists(daemon: Daemon) -> None:
    await daemon.docker("volume", "create", "--label", "keep", "named")
    spared = {"filters": '{"label!": ["keep"]}'}
    assert (await daemon.request("POST", "/v1.41/volumes/prune", params=spared))[1]["VolumesDeleted"] is not None
    assert daemon.agent.volumes.exists("named")
    status, body = await daemon.request("POST", "/v1.41/volumes/prune")
    assert (status, "named" in body["VolumesDeleted"]) == (200, True)
    assert (await daemon.request("POST", "/v1.50/volumes/prune"))[1] == {"VolumesDeleted": [], "SpaceReclaimed": 0}


async def test_every_prune_has_an_event_that_says_what_it_freed(daemon: Daemon) -> None:
    since = time.time_ns()
    await run(daemon, "box:1", "dd if=/dev/zero of=/zeros bs=1000 count=100 2>/dev/null")
    for kind in ("container", "network", "image", "volume"):
        await daemon.docker(kind, "prune", "-f")
    assert (await daemon.request("POST", "/build/prune"))[0] == 200
    asked = ("--since", f"{since / 1e9:.9f}", "--until", f"{time.time_ns() / 1e9:.9f}")
    out, _ = await daemon.docker("events", *asked, "--filter", "event=prune", "--format", "{{json .}}")
    found = {event["Type"]: event["Actor"] for event in map(json.loads, out.splitlines())}
    assert list(found) == ["container", "network", "image", "volume", "builder"]
    assert int(found["container"]["Attributes"]["reclaimed"]) >= 100_000
    assert found["network"] == {"ID": "", "Attributes": {"reclaimed": "0"}}


async def test_a_second_prune_at_the_same_time_is_refused_in_dockers_words(daemon: Daemon) -> None:
    for _ in range(3):
        await created(daemon)
    answers = await asyncio.gather(*(daemon.request("POST", "/containers/prune") for _ in range(2)))
    assert sorted(status for status, _ in answers) == [200, 409]
    refused = next(body for status, body in answers if status == 409)
    assert refused == {"message": "a prune operation is already running"}
    assert (await daemon.request("POST", "/containers/prune"))[0] == 200
    assert (await daemon.request("POST", "/containers/prune", params={"filters": '{"wrong": ["x"]}'}))[0] == 400
    assert (await daemon.request("POST", "/containers/prune"))[0] == 200


async def test_a_client_that_vanishes_in_an_upload_leaves_no_part_of_a_file(daemon: Daemon) -> None:
    name = await started(daemon)
    info = tarfile.TarInfo("part")
    info.size = 100 << 20

    async def body() -> AsyncIterator[bytes]:
        yield info.tobuf()
        yield bytes(1 << 20)
        await asyncio.sleep(0.3)
        raise ConnectionResetError

    with pytest.raises(Exception, match=".*"):
        await daemon.request("PUT", f"/containers/{name}/archive?path=/", data=body())
    async with asyncio.timeout(20):
        while (await daemon.docker("exec", name, "ls", "/"))[0].find("part") >= 0:  # noqa: ASYNC110  no event for it
            await asyncio.sleep(0.1)


async def test_a_full_disk_is_told_and_leaves_no_part_of_a_file(daemon: Daemon, tmp_path: Path) -> None:
    name = await started(daemon, "--mount", "type=tmpfs,target=/small,tmpfs-size=1m")
    (tmp_path / "big").write_bytes(bytes(4 << 20))
    _, err = await daemon.docker("cp", f"{tmp_path}/big", f"{name}:/small/big", check=1)
    assert "the disk is full" in err
    out, _ = await daemon.docker("exec", name, "ls", "/small")
    assert out == ""
