"""Pulls from registries that lie, break off, redirect and never end: the image arrives whole, or nothing is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from agent.image.model import PulledImage
from agent.image.registry.auth_config import ANONYMOUS, Credentials
from agent.image.registry.manifests import DOCKER_INDEX
from agent.image.registry.registries_config import RegistriesConfig, RegistryConfig
from agent.image.registry.service import RegistryService
from agent.image.store import ImageStore
from covey.errors import CoveyError, NotFoundError
from tests.support.hostile_registry import HostileRegistry, hostile_registry, send_and_break, send_endlessly
from tests.support.image_archives import TestImage, compressed, digest, image, tar
from tests.support.switched_hosts import eventually

pytestmark = [pytest.mark.root]

DEADLINE_SECONDS = 30
APP = image({"etc/one": os.urandom(200_000)}, {"etc/two": b"two"})


class Host:
    """A host with nothing but an image store and its registries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "images"
        self.store = ImageStore(folder)
        self.registries = RegistryService(self.store.repository)

    async def pull(
        self, name: str, credentials: Credentials = ANONYMOUS, platform: str = ""
    ) -> tuple[PulledImage, ...]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            with self.registries.pull(name, credentials=credentials, platform=platform) as job:
                return await job.result()

    def files(self) -> list[str]:
        """Every file of the store but its database."""
        return [
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and "images.db" not in path.name
        ]

    async def is_refused(self, name: str, words: str, error: type[CoveyError] = CoveyError) -> None:
        with pytest.raises(error) as caught:
            await self.pull(name)
        assert words in caught.value.message
        assert self.store.list() == ()
        assert self.files() == []


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    made = Host(tmp_path)
    await made.store.start()
    await made.registries.open()
    yield made
    await made.registries.close()
    await made.store.close()


@pytest_asyncio.fixture
async def registry() -> AsyncIterator[HostileRegistry]:
    async with hostile_registry() as made:
        yield made


async def test_a_blob_that_does_not_match_its_digest_is_refused(host: Host, registry: HostileRegistry) -> None:
    name, blob = registry.add(APP), registry.layer(APP, 1)
    registry.blobs[blob] = registry.blobs[blob][:-1] + b"!"
    await host.is_refused(name, f"filesystem layer verification failed for digest {blob}")


async def test_a_config_and_a_manifest_that_lie_are_refused(host: Host, registry: HostileRegistry) -> None:
    name = registry.add(APP)
    registry.blobs[APP.id] = APP.config.replace(b"amd64", b"amd63")
    await host.is_refused(name, "does not match its digest")
    _, body = registry.manifests["app/1"]
    wrong = f"sha256:{'0' * 64}"
    registry.manifests[f"app/{wrong}"] = registry.manifests["app/1"]
    await host.is_refused(f"{registry.host}/app@{wrong}", f"manifest verification failed for digest {wrong}")


async def test_a_layer_that_does_not_match_its_diff_id_is_refused(host: Host, registry: HostileRegistry) -> None:
    other = compressed(tar({"etc/other": b"x"}))
    registry.blobs[digest(other)] = other
    layers = [{"mediaType": "x", "digest": digest(other), "size": len(other)}] * 2
    await host.is_refused(registry.add(APP, layers=layers), "does not match its diff id")


@pytest.mark.parametrize("difference", [-1, 1])
async def test_a_blob_of_another_length_than_announced_is_refused(
    host: Host, registry: HostileRegistry, difference: int
) -> None:
    name = registry.add(APP)
    manifest = json.loads(registry.manifests["app/1"][1])
    manifest["layers"][0]["size"] += difference
    await host.is_refused(registry.add(APP, layers=manifest["layers"]), "but its manifest announces")
    assert name


async def test_endless_blobs_and_manifests_are_cut_off(host: Host, registry: HostileRegistry) -> None:
    name = registry.add(APP)
    registry.answer("GET", f"/app/blobs/{registry.layer(APP)}", send_endlessly)
    await host.is_refused(name, "is longer than the")
    registry.answer("GET", "/app/manifests/1", send_endlessly)
    await host.is_refused(name, "is larger than")


async def test_a_gzip_bomb_ends_at_the_limit_of_a_layer(host: Host, registry: HostileRegistry) -> None:
    """Its 200 MB of zeros compress to 200 kB. The limit is lowered, so that the test needs no 64 GiB."""
    bomb = image({"zeros": bytes(200 << 20)})
    host.registries.layer_limit_bytes = 50 << 20
    await host.is_refused(registry.add(bomb), "exceeds the limit of")


async def test_a_broken_download_goes_on_where_it_broke(host: Host, registry: HostileRegistry) -> None:
    name, blob = registry.add(APP), registry.layer(APP)
    data, ranges = registry.blobs[blob], []

    async def break_twice(request: web.Request) -> web.StreamResponse:
        ranges.append(request.headers.get("Range", ""))
        if len(ranges) == 1:
            return await send_and_break(request, data[:50_000], len(data))
        start = int(ranges[-1].removeprefix("bytes=").removesuffix("-"))
        end = len(data) - 1
        response = web.StreamResponse(status=206, headers={
            "Content-Range": f"bytes {start}-{end}/{len(data)}", "Content-Length": str(len(data) - start),
        })  # fmt: skip
        await response.prepare(request)
        await response.write(data[start : start + 60_000] if len(ranges) == 2 else data[start:])
        if len(ranges) == 2:
            request.transport.close()
        return response

    registry.answer("GET", f"/app/blobs/{blob}", break_twice)
    await host.pull(name)
    assert ranges == ["", "bytes=50000-", "bytes=110000-"]
    assert (host.store.layers(name)[0] / "etc/one").stat().st_size == 200_000


async def test_a_registry_without_ranges_is_read_from_the_start_again(host: Host, registry: HostileRegistry) -> None:
    name, blob = registry.add(APP), registry.layer(APP)
    data, count = registry.blobs[blob], 0

    async def break_once(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        if count == 1:
            return await send_and_break(request, data[:50_000], len(data))
        return web.Response(body=data)

    registry.answer("GET", f"/app/blobs/{blob}", break_once)
    await host.pull(name)
    assert count == 2


async def test_credentials_do_not_follow_a_redirect_to_another_host(host: Host, registry: HostileRegistry) -> None:
    name, blob = registry.add(APP), registry.layer(APP)
    challenge = {"WWW-Authenticate": 'Basic realm="test"'}

    async def ask(request: web.Request) -> web.StreamResponse:
        return web.Response(status=200 if "Authorization" in request.headers else 401, headers=challenge)

    registry.answer("GET", "/", ask)
    async with hostile_registry() as elsewhere:
        elsewhere.blobs = dict(registry.blobs)

        async def redirect(_request: web.Request) -> web.StreamResponse:
            raise web.HTTPTemporaryRedirect(f"http://{elsewhere.host}/v2/x/blobs/{blob}")

        registry.answer("GET", f"/app/blobs/{blob}", redirect)
        await host.pull(name, Credentials("joe", "secret"))
        assert "Authorization" in registry.asked(f"/app/blobs/{blob}")[0].headers
        (followed,) = elsewhere.requests
        assert "Authorization" not in followed.headers


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/v2/app/manifests/1", "stopped after 5 redirects"),
        ("file:///etc/passwd", "which is not an HTTP URL"),
        ("gopher://x", "which is not an HTTP URL"),
        ("http://user:x@127.0.0.1/", "which is not an HTTP URL"),
        ("", "which is not an HTTP URL"),
    ],
)
async def test_redirects_are_limited_and_only_to_http(
    host: Host, registry: HostileRegistry, target: str, words: str
) -> None:
    async def redirect(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": target})

    registry.answer("GET", "/app/manifests/1", redirect)
    await host.is_refused(f"{registry.host}/app:1", words)


async def test_a_registry_that_always_wants_another_token_is_given_up(host: Host, registry: HostileRegistry) -> None:
    count = 0

    async def challenge(_request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        realm = f'Bearer realm="http://{registry.host}/v2/token",service="{count}"'
        return web.Response(status=401, headers={"WWW-Authenticate": realm})

    async def token(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"token": "t"})

    for path in ("/", "/app/manifests/1"):
        registry.answer("GET", path, challenge)
    registry.answer("GET", "/token", token)
    await host.is_refused(f"{registry.host}/app:1", "unauthorized: authentication required")
    assert len(registry.requests) <= 6


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"text": "{}"}, "did not include a token"),
        ({"text": "no json"}, "is malformed"),
        ({"text": '{"token": "a\\nb"}'}, "did not include a token"),
        ({"text": "x" * 200_000}, "is larger than"),
        ({"text": "", "status": 401}, "unauthorized"),
    ],
)
async def test_token_servers_are_not_trusted(
    host: Host, registry: HostileRegistry, answer: dict[str, object], words: str
) -> None:
    async def challenge(_request: web.Request) -> web.StreamResponse:
        header = f'Bearer realm="http://{registry.host}/v2/token"'
        return web.Response(status=401, headers={"WWW-Authenticate": header})

    async def token(_request: web.Request) -> web.StreamResponse:
        return web.Response(**answer)

    registry.answer("GET", "/", challenge)
    registry.answer("GET", "/token", token)
    await host.is_refused(f"{registry.host}/app:1", words)


async def test_two_pulls_at_once_are_one_download_and_the_last_follower_cancels_it(
    host: Host, registry: HostileRegistry
) -> None:
    name, blob = registry.add(APP), registry.layer(APP)
    again, stalled, left = registry.add(APP, "other"), asyncio.Event(), asyncio.Event()
    data, release = registry.blobs[blob], asyncio.Event()

    async def stall(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[:1000])
        stalled.set()
        try:
            await release.wait()
        except asyncio.CancelledError:
            left.set()
            raise
        await response.write(data[1000:])
        return response

    for repository in ("app", "other"):
        registry.answer("GET", f"/{repository}/blobs/{blob}", stall)
    async with asyncio.timeout(DEADLINE_SECONDS):
        with contextlib.ExitStack() as stack:
            followers = [stack.enter_context(host.registries.pull(item)) for item in (name, again)]
            await stalled.wait()
            await eventually(lambda: len(registry.asked("/other/manifests/1")) == 1)
        await left.wait()
        await eventually(lambda: host.files() == [])
        stalled.clear()
        first = asyncio.create_task(host.pull(name))
        second = asyncio.create_task(host.pull(again))
        await stalled.wait()
        await eventually(lambda: len(registry.asked("/other/manifests/1")) == 2)
        first.cancel()
        release.set()
        await second
    assert followers
    assert host.store.get(again).id == APP.id
    assert len(registry.asked(f"/app/blobs/{blob}")) + len(registry.asked(f"/other/blobs/{blob}")) == 2


async def test_a_mirror_that_lacks_the_image_leads_to_the_registry_and_gets_no_credentials(
    host: Host, registry: HostileRegistry
) -> None:
    name = registry.add(APP)

    async def ask(request: web.Request) -> web.StreamResponse:
        headers = {"WWW-Authenticate": 'Basic realm="test"'}
        return web.Response(status=200 if "Authorization" in request.headers else 401, headers=headers)

    registry.answer("GET", "/", ask)
    async with hostile_registry() as mirror:
        mirrors = {registry.host: RegistryConfig(mirrors=(f"http://{mirror.host}",))}
        host.registries.configure(RegistriesConfig(registries=mirrors))
        await host.pull(name, Credentials("joe", "secret"))
        assert mirror.asked("/app/manifests/1")
        assert not [request for request in mirror.requests if "Authorization" in request.headers]
        await host.store.remove(name)
        registry.requests.clear()
        mirror.add(APP)
        await host.pull(name, Credentials("joe", "secret"))
        assert registry.requests == []


async def test_the_platform_of_an_index_is_chosen_and_a_missing_one_named(
    host: Host, registry: HostileRegistry
) -> None:
    arm = image({"etc/arm": b"arm"}, architecture="arm64")
    entries = []
    for made, architecture in ((APP, "amd64"), (arm, "arm64")):
        registry.add(made, "app", architecture)
        _, body = registry.manifests[f"app/{architecture}"]
        platform = {"architecture": architecture, "os": "linux"}
        entries.append({"digest": digest(body), "size": len(body), "platform": platform})
    index = json.dumps({"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": entries}).encode()
    name = registry.add_manifest("app", "multi", DOCKER_INDEX, index)
    await host.pull(name, platform="linux/arm64")
    assert host.store.get(name).id == arm.id
    await host.pull(name, platform="linux/amd64")
    assert host.store.get(name).id == APP.id
    assert host.store.get(name).repo_digests == (f"{registry.host}/app@{digest(index)}",)
    with pytest.raises(NotFoundError, match="no matching manifest for linux/s390x in the manifest list entries"):
        await host.pull(name, platform="linux/s390x")


async def test_a_full_disk_in_the_middle_of_a_pull_is_reported_and_leaves_nothing(
    tmp_path: Path, registry: HostileRegistry
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    await _run("mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(small))
    try:
        host = Host(small)
        await host.store.start()
        await host.registries.open()
        try:
            big = image({"etc/big": os.urandom(400_000)})
            await host.is_refused(registry.add(big), "no space left on device")
        finally:
            await host.registries.close()
            await host.store.close()
    finally:
        await _run("umount", str(small))


async def test_after_kill_9_in_the_middle_of_a_pull_nothing_is_left_of_it(
    tmp_path: Path, registry: HostileRegistry
) -> None:
    name, blob = registry.add(APP), registry.layer(APP)
    stalled, data = asyncio.Event(), registry.blobs[blob]

    async def stall(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[:-1000])
        stalled.set()
        await asyncio.Event().wait()
        return response

    registry.answer("GET", f"/app/blobs/{blob}", stall)
    script = (
        "import asyncio, sys, pathlib\nfrom agent.image.store import ImageStore\n"
        "from agent.image.registry.service import RegistryService\n"
        "async def main(root, name):\n    store = ImageStore(root); await store.start()\n"
        "    registries = RegistryService(store.repository); await registries.open()\n"
        "    with registries.pull(name) as job: await job.result()\n"
        "asyncio.run(main(pathlib.Path(sys.argv[1]), sys.argv[2]))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), name, cwd=Path(__file__).parents[2]
    )
    async with asyncio.timeout(DEADLINE_SECONDS):
        await stalled.wait()
        process.send_signal(signal.SIGKILL)
        await process.wait()
    host = Host(tmp_path)
    assert host.files()
    await host.store.start()
    try:
        assert host.files() == []
        assert host.store.list() == ()
    finally:
        await host.store.close()


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0


def tar_with_link(name: str, target: str, data: bytes) -> bytes:
    """A tar with a hard link to a file that it does not have, and a file in a directory without an entry."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("implied/data")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.LNKTYPE, target
        archive.addfile(link)
    return out.getvalue()


def base_tar(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        folder = tarfile.TarInfo("implied")
        folder.type, folder.mode, folder.uid = tarfile.DIRTYPE, 0o711, 1234
        archive.addfile(folder)
        info = tarfile.TarInfo("etc/below")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


async def test_a_layer_that_needs_the_one_below_waits_for_it(host: Host, registry: HostileRegistry) -> None:
    """The upper layer is there first. Its hard link and its directory's owner come from the lower one."""
    data = os.urandom(5_000_000)
    made = image(base_tar(data), tar_with_link("etc/link", "etc/below", os.urandom(5_000_000)))
    name, lower, upper = registry.add(made), registry.layer(made), registry.layer(made, 1)
    upper_sent = asyncio.Event()

    async def send_upper(_request: web.Request) -> web.StreamResponse:
        upper_sent.set()
        return web.Response(body=registry.blobs[upper])

    async def send_lower(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(registry.blobs[lower]))})
        await response.prepare(request)
        await response.write(registry.blobs[lower][:1000])
        await upper_sent.wait()
        await eventually(
            lambda: [
                path for path in (host.folder / "tmp").rglob("l1/implied/data") if path.stat().st_size == 5_000_000
            ]
        )
        await response.write(registry.blobs[lower][1000:])
        return response

    registry.answer("GET", f"/app/blobs/{upper}", send_upper)
    registry.answer("GET", f"/app/blobs/{lower}", send_lower)
    await host.pull(name)
    top = host.store.layers(name)[1]
    assert (top / "etc/link").read_bytes() == data
    found = (top / "implied").stat()
    assert (found.st_mode & 0o7777, found.st_uid) == (0o711, 1234)


async def test_images_that_share_a_layer_and_are_pulled_at_once_download_it_once(
    host: Host, registry: HostileRegistry
) -> None:
    shared = {"etc/shared": os.urandom(300_000)}
    names = [registry.add(image(shared, {"etc/own": name.encode()}), name) for name in ("one", "two", "three")]
    await asyncio.gather(*(host.pull(name) for name in names))
    blob = registry.layer(image(shared))
    downloads = [request for request in registry.requests if request.path.endswith(blob)]
    assert len(downloads) == 1
    for name in names:
        assert (host.store.layers(name)[0] / "etc/shared").stat().st_size == 300_000
    assert len({host.store.layers(name)[0] for name in names}) == 1


async def test_a_pull_that_waits_for_the_layer_of_another_downloads_it_itself_when_that_one_gives_up(
    host: Host, registry: HostileRegistry
) -> None:
    shared = image({"etc/shared": os.urandom(300_000)})
    one = registry.add(shared, "one")
    blob, data = registry.layer(shared), registry.blobs[registry.layer(shared)]
    two = registry.add(TestImage(shared.layers, config_of(shared)), "two")
    stalled, calls = asyncio.Event(), 0

    async def stall_first(request: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        if calls > 1:
            return web.Response(body=data)
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        stalled.set()
        await asyncio.Event().wait()
        return response

    for repository in ("one", "two"):
        registry.answer("GET", f"/{repository}/blobs/{blob}", stall_first)
    first = asyncio.create_task(host.pull(one))
    await stalled.wait()
    second = asyncio.create_task(host.pull(two))
    await eventually(lambda: registry.asked(f"/two/blobs/{digest(config_of(shared))}"))
    first.cancel()
    await second
    assert calls == 2


def config_of(made: TestImage) -> bytes:
    """The config of another image with the same layers."""
    return made.config.replace(b"/bin/true", b"/bin/else")
