"""Image store on a real file system: load, import, save, remove, refusals and crash recovery."""

import asyncio
import contextlib
import gzip
import hashlib
import io
import json
import os
import stat
import sys
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import zstandard

from agent.image.archive.unpack_protocol import UnpackLimits
from agent.image.model import Progress
from agent.image.removal import ImageUser
from agent.image.store import ImageStore
from covey.errors import ConflictError, InvalidArgumentError, NotFoundError, TooLargeError

pytestmark = pytest.mark.root


def entry(name: str, content: bytes | None = None, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """A tar entry: a file when it has content, a directory when its name ends in a slash."""
    info = tarfile.TarInfo(name)
    info.mode = 0o755 if name.endswith("/") else 0o644
    info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
    info.size = len(content or b"")
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content or b""


def tar_of(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def docker_archive(
    layers: list[bytes],
    tags: list[str],
    config: dict[str, object] | None = None,
    compress: Callable[[bytes], bytes] = bytes,
) -> bytes:
    """Archive in the old format of ``docker save``."""
    diff_ids = [f"sha256:{sha(layer)}" for layer in layers]
    body = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    ).encode()
    manifest = [
        {
            "Config": f"{sha(body)}.json",
            "RepoTags": tags,
            "Layers": [f"{number}/layer.tar" for number in range(len(layers))],
        }
    ]
    files = [entry(f"{number}/layer.tar", compress(layer)) for number, layer in enumerate(layers)]
    return tar_of(*files, entry(f"{sha(body)}.json", body), entry("manifest.json", json.dumps(manifest).encode()))


async def stream(data: bytes, step: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), step):
        yield data[at : at + step]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ImageStore]:
    opened = ImageStore(tmp_path)
    await opened.start()
    yield opened
    await opened.close()


BASE = tar_of(
    entry("etc/", mode=0o755),
    entry("etc/passwd", b"root:x:0:0::/:/bin/sh\n", uid=0, gid=5, mode=0o640),
    entry("etc/alias", type=tarfile.SYMTYPE, linkname="passwd"),
    entry("bin/"),
    entry("bin/tool", b"#!", mode=0o4755, uid=7, mtime=1000),
    entry("bin/twin", type=tarfile.LNKTYPE, linkname="bin/tool"),
    entry("tmp/", mode=0o1777, uid=3, gid=4),
    entry("dev/"),
    entry("dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
    entry("run/pipe", type=tarfile.FIFOTYPE),
)


async def test_a_saved_image_is_loaded_with_its_files_owners_links_and_devices(store: ImageStore) -> None:
    assert await store.load(stream(docker_archive([BASE], ["app:1"], {"Cmd": ["/bin/tool"], "Env": None}))) == (
        "app:1",
    )
    image = store.get("app:1")
    (root,) = store.layers(image.id)
    assert image.config.cmd == ("/bin/tool",)
    assert (root / "etc/passwd").read_bytes().startswith(b"root:")
    assert ((root / "etc/passwd").stat().st_gid, stat.S_IMODE((root / "etc/passwd").stat().st_mode)) == (5, 0o640)
    assert (root / "etc/alias").readlink() == Path("passwd")
    tool = (root / "bin/tool").stat()
    assert (stat.S_IMODE(tool.st_mode), tool.st_uid, tool.st_mtime, tool.st_nlink) == (0o4755, 7, 1000, 2)
    assert (root / "dev/null").stat().st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO((root / "run/pipe").stat().st_mode)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress, bytes])
@pytest.mark.parametrize("wrap", [gzip.compress, zstandard.compress, bytes])
async def test_layers_and_archives_can_be_compressed(
    store: ImageStore, compress: Callable[[bytes], bytes], wrap: Callable[[bytes], bytes]
) -> None:
    await store.load(stream(wrap(docker_archive([BASE], ["app:1"], compress=compress))))
    assert (store.layers("app:1")[-1] / "bin/tool").read_bytes() == b"#!"


async def test_a_gzip_stream_with_several_members_is_read_completely(store: ImageStore) -> None:
    data = docker_archive([BASE], ["app:1"])
    await store.load(stream(gzip.compress(data[:5000]) + gzip.compress(data[5000:])))
    assert store.get("app:1")


async def test_whiteouts_are_converted_for_overlayfs(store: ImageStore) -> None:
    upper = tar_of(
        entry("etc/.wh.passwd", b""), entry("bin/"), entry("bin/.wh..wh..opq", b""),
        entry(".wh.dev", b""), entry("dev/"), entry("tmp/new", b"x"),
    )  # fmt: skip
    await store.load(stream(docker_archive([BASE, upper], ["app:2"])))
    _, top = store.layers("app:2")
    hidden = (top / "etc/passwd").lstat()
    assert stat.S_ISCHR(hidden.st_mode)
    assert hidden.st_rdev == 0
    assert os.getxattr(top / "bin", "trusted.overlay.opaque") == b"y"
    assert os.getxattr(top / "dev", "trusted.overlay.opaque") == b"y"
    assert (stat.S_IMODE((top / "tmp").stat().st_mode), (top / "tmp").stat().st_uid) == (0o1777, 3), (
        "a parent directory without an entry lost its mode or owner"
    )


async def test_an_overlay_of_the_layers_shows_the_image(store: ImageStore, tmp_path: Path) -> None:
    upper = tar_of(entry("etc/.wh.passwd", b""), entry("bin/.wh..wh..opq", b""), entry("bin/only", b"1"))
    await store.load(stream(docker_archive([BASE, upper], ["app:2"])))
    merged = tmp_path / "merged"
    merged.mkdir()
    options = "lowerdir=" + ":".join(map(str, reversed(store.layers("app:2"))))
    mount = await asyncio.create_subprocess_exec("mount", "-t", "overlay", "overlay", "-o", options, str(merged))
    assert await mount.wait() == 0
    try:
        assert sorted(path.name for path in (merged / "bin").iterdir()) == ["only"]
        assert sorted(path.name for path in (merged / "etc").iterdir()) == ["alias"]
    finally:
        unmount = await asyncio.create_subprocess_exec("umount", str(merged))
        assert await unmount.wait() == 0


@pytest.mark.parametrize(
    "entries",
    [
        [entry("../escaped", b"x")],
        [entry("a/../../escaped", b"x")],
        [entry("out", type=tarfile.LNKTYPE, linkname="../../../etc/passwd")],
        [entry("out", type=tarfile.LNKTYPE, linkname="/etc/hostname")],
        [entry("link", type=tarfile.SYMTYPE, linkname="/nowhere/at/all"), entry("link/escaped", b"x")],
        [entry("file", b"x"), entry("file/child", b"x")],
        [entry(".wh...", b"")],
        [entry("strange", type=b"z")],
        [entry("big", b"", uid=2**40)],
    ],
    ids=["dotdot", "inner dotdot", "hardlink dotdot", "hardlink to the host", "dangling symlink", "file as folder", "whiteout of dotdot", "type", "uid"],
)  # fmt: skip
async def test_a_layer_with_entries_outside_its_root_is_refused_and_leaves_nothing(
    store: ImageStore, tmp_path: Path, entries: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    with pytest.raises(InvalidArgumentError, match="layer sha256:"):
        await store.load(stream(docker_archive([tar_of(*entries)], ["evil:1"])))
    assert not list(tmp_path.rglob("escaped"))
    assert not list((tmp_path / "images/tmp").iterdir())
    assert not list((tmp_path / "images/layers").iterdir())
    assert store.list() == ()


async def test_a_symlink_is_resolved_inside_the_layer_only(store: ImageStore, tmp_path: Path) -> None:
    target = tmp_path / "victim"
    target.mkdir()
    layer = tar_of(
        entry(f"{str(target)[1:]}/"),
        entry("link", type=tarfile.SYMTYPE, linkname=str(target)),
        entry("link/planted", b"x"),
    )
    await store.load(stream(docker_archive([layer], ["evil:1"])))
    assert not list(target.iterdir())
    assert (store.layers("evil:1")[-1] / str(target)[1:] / "planted").exists()


async def test_xattrs_that_overlayfs_interprets_are_dropped(store: ImageStore) -> None:
    info, _ = entry("d/")
    info.pax_headers = {"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.kind": "fine"}
    await store.load(stream(docker_archive([tar_of((info, b""))], ["app:1"])))
    assert os.listxattr(store.layers("app:1")[-1] / "d") == ["user.kind"]


async def test_a_layer_that_does_not_match_its_digest_is_refused(store: ImageStore) -> None:
    archive = bytearray(docker_archive([BASE], ["app:1"]))
    at = archive.index(b"root:x:0:0")
    archive[at : at + 4] = b"evil"
    with pytest.raises(InvalidArgumentError, match="does not match its digest"):
        await store.load(stream(bytes(archive)))
    assert store.list() == ()


async def test_a_known_layer_is_verified_again(store: ImageStore) -> None:
    """A second image may name an existing layer and bring other bytes for it. They must not become its blob."""
    await store.load(stream(docker_archive([BASE], ["app:1"])))
    archive = bytearray(docker_archive([BASE], ["app:2"], {"Cmd": ["other"]}))
    at = archive.index(b"root:x:0:0")
    archive[at : at + 4] = b"evil"
    with pytest.raises(InvalidArgumentError, match="does not match its digest"):
        await store.load(stream(bytes(archive)))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty file"),
        (b"not a tar at all" * 100, "tar archive"),
        (tar_of(entry("hello", b"x")), "neither manifest.json"),
        (tar_of(entry("manifest.json", b"[")), "malformed"),
        (tar_of(entry("manifest.json", b'[{"Config":"../../etc/passwd","Layers":[]}]')), "does not have"),
        (gzip.compress(docker_archive([BASE], ["a:1"]))[:-2000], "tar archive|gzip stream"),
        (docker_archive([BASE], ["a:1"])[:3000], "tar archive"),
        (docker_archive([BASE], ["UPPER:1"]), "lowercase"),
    ],
    ids=["empty", "noise", "no manifest", "bad json", "escaping config", "cut gzip", "cut tar", "bad tag"],
)  # fmt: skip
async def test_an_invalid_archive_is_refused_with_the_reason(store: ImageStore, data: bytes, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        await store.load(stream(data))
    assert store.list() == ()


async def test_archives_over_the_limits_are_refused(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, limits=UnpackLimits(layer_bytes=1 << 20, archive_entries=50))
    await store.start()
    try:
        bomb = tar_of(entry("zeros", bytes(8 << 20)))
        with pytest.raises(TooLargeError):
            await store.load(stream(docker_archive([bomb], ["bomb:1"], compress=gzip.compress)))
        with pytest.raises(TooLargeError):
            await store.load(stream(tar_of(*[entry(str(number), b"") for number in range(60)])))
    finally:
        await store.close()


async def test_an_invalid_archive_is_refused_before_the_end_of_the_stream(store: ImageStore) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"noise" * 10_000
        await asyncio.Event().wait()

    async with asyncio.timeout(20):
        with pytest.raises(InvalidArgumentError):
            await store.load(endless())


async def test_a_saved_image_is_loaded_again_as_the_same_image(store: ImageStore, tmp_path: Path) -> None:
    await store.load(
        stream(docker_archive([BASE, tar_of(entry("two", b"2"))], ["app:1", "team/app:x"], compress=gzip.compress))
    )
    saved = b"".join([chunk async for chunk in store.save(["app:1", "team/app:x"])])
    with tarfile.open(fileobj=io.BytesIO(saved)) as whole:
        names = whole.getnames()
    assert {"manifest.json", "index.json", "oci-layout"} <= set(names)
    again = ImageStore(tmp_path / "other")
    await again.start()
    try:
        assert await again.load(stream(saved)) == ("app:1", "team/app:x")
        assert again.get("app:1").id == store.get("app:1").id
        without = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(saved)) as whole, tarfile.open(fileobj=without, mode="w") as oci:
            for member in whole:
                if member.name != "manifest.json":
                    oci.addfile(member, whole.extractfile(member))
        await again.remove("app:1")
        await again.remove("team/app:x")
        assert again.list() == ()
        assert await again.load(stream(without.getvalue())) == ("app:1", "team/app:x"), "as an OCI layout only"
    finally:
        await again.close()


async def test_an_image_of_another_platform_is_loaded_and_saved_when_it_is_asked_for(store: ImageStore) -> None:
    archive = docker_archive([BASE], ["app:1"])
    with pytest.raises(NotFoundError, match="does not provide the specified platform \\(linux/arm64\\)"):
        await store.load(stream(archive), platform="linux/arm64")
    assert store.list() == ()
    await store.load(stream(archive), platform="linux/amd64")
    with pytest.raises(NotFoundError, match="does not provide the specified platform"):
        store.save(["app:1"], platform="linux/arm64")
    assert [chunk async for chunk in store.save(["app:1"], platform="linux/amd64")]


async def test_an_imported_file_system_becomes_an_image_with_the_given_changes(store: ImageStore) -> None:
    image_id = await store.import_(
        stream(gzip.compress(BASE)), "busy:1", message="made here", changes=['CMD ["/bin/tool"]', "ENV A=1"]
    )
    image = store.get("busy:1")
    assert image.id == image_id
    assert (image.config.cmd, image.config.env, image.comment) == (("/bin/tool",), ("A=1",), "made here")
    assert (store.layers(image_id)[-1] / "bin/tool").exists()
    with pytest.raises(InvalidArgumentError, match="RUN"):
        await store.import_(stream(BASE), "busy:2", changes=["RUN true"])


async def test_a_known_layer_is_not_unpacked_again(store: ImageStore) -> None:
    await store.load(stream(docker_archive([BASE], ["app:1"])))
    before = (store.layers("app:1")[-1]).stat().st_ino
    steps: list[Progress] = []
    await store.load(stream(docker_archive([BASE, tar_of(entry("two", b"2"))], ["app:2"])), steps.append)
    assert {step.status for step in steps} == {"Loading layer"}
    assert len({step.id for step in steps}) == 1
    assert store.layers("app:2")[0].stat().st_ino == before


async def test_removing_the_last_tag_deletes_the_layers_that_no_other_image_uses(
    store: ImageStore, tmp_path: Path
) -> None:
    await store.load(stream(docker_archive([BASE], ["app:1"])))
    await store.load(stream(docker_archive([BASE, tar_of(entry("two", b"2"))], ["app:2"])))
    await store.tag("app:1", "app:other")
    assert [item.untagged for item in await store.remove("app:other")] == ["app:other"]
    shared = store.layers("app:1")[-1]
    await store.remove("app:2")
    assert shared.exists()
    assert len(list((tmp_path / "images/layers").iterdir())) == 1
    deleted = [item.deleted for item in await store.remove("app:1") if item.deleted]
    assert len(deleted) == 2
    assert not list((tmp_path / "images/layers").iterdir())
    assert not list((tmp_path / "images/blobs/sha256").iterdir())


async def test_an_image_that_a_container_uses_is_not_removed(tmp_path: Path) -> None:
    users: dict[str, list[ImageUser]] = {}
    store = ImageStore(tmp_path, containers_using=lambda image_id: users.get(image_id, []))
    await store.start()
    try:
        await store.load(stream(docker_archive([BASE], ["app:1"])))
        users[store.get("app:1").id] = [ImageUser("c" * 64, running=False)]
        with pytest.raises(ConflictError, match="cccccccccccc"):
            await store.remove("app:1")
        assert await store.prune(unused=True) == ((), 0)
        users.clear()
        removed, freed_bytes = await store.prune(unused=True)
        assert removed
        assert freed_bytes > 0
    finally:
        await store.close()


async def test_layers_of_an_image_removed_by_force_stay_for_its_container(tmp_path: Path) -> None:
    users: dict[str, list[ImageUser]] = {}
    store = ImageStore(tmp_path, containers_using=lambda image_id: users.get(image_id, []))
    await store.start()
    try:
        await store.load(stream(docker_archive([BASE], ["app:1"])))
        image_id = store.get("app:1").id
        users[image_id] = [ImageUser("c" * 64, running=False)]
        await store.remove("app:1", force=True)
        assert store.list() == ()
        assert all(layer.exists() for layer in store.layers(image_id))
        await store.remove_released()
        assert all(layer.exists() for layer in store.layers(image_id))
        await store.load(stream(docker_archive([BASE], ["app:1"])))
        assert store.get("app:1").id == image_id, "loading it again brings it back"
        await store.remove("app:1", force=True)
        users.clear()
        await store.remove_released()
        assert not list((tmp_path / "images/layers").iterdir())
    finally:
        await store.close()


async def test_an_image_is_found_by_name_id_and_id_prefix(store: ImageStore) -> None:
    await store.load(stream(docker_archive([BASE], ["app:latest"])))
    image = store.get("app")
    for name in ("docker.io/library/app", "app:latest", image.id, image.id[7:], image.id[7:19], image.id[:12]):
        assert store.get(name) == image
    with pytest.raises(NotFoundError, match="No such image: other:latest"):
        store.get("other")


async def test_after_a_crash_every_listed_image_is_complete(tmp_path: Path) -> None:
    """A process that loads images is killed at an arbitrary moment. Every image listed afterwards is complete."""
    archives = [docker_archive([BASE, tar_of(entry(f"n{n}", os.urandom(200_000)))], [f"app:{n}"]) for n in range(20)]
    for number, archive in enumerate(archives):
        (tmp_path / f"{number}.tar").write_bytes(archive)
    script = (
        "import asyncio, sys, pathlib\nfrom agent.image.store import ImageStore\n"
        "async def main(root):\n    store = ImageStore(root); await store.start()\n    print('ready', flush=True)\n"
        "    for n in range(20): await store.load(root / f'{n}.tar')\n"
        "asyncio.run(main(pathlib.Path(sys.argv[1])))\n"
    )
    for delay in (0.05, 0.4, 0.9):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        async with asyncio.timeout(20):
            assert await child.stdout.readline() == b"ready\n"
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), delay)
        if child.returncode is None:
            child.kill()
        await child.wait()
        store = ImageStore(tmp_path)
        await store.start()
        try:
            for image in store.list():
                base, top = store.layers(image.id)
                assert (base / "bin/tool").exists()
                assert (top / f"n{image.repo_tags[0].partition(':')[2]}").stat().st_size == 200_000
            assert len(list((tmp_path / "images/layers").iterdir())) == (len(store.list()) + 1 if store.list() else 0)
        finally:
            await store.close()
