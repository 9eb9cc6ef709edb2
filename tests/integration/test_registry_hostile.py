"""Pulls from registries that lie, break off, redirect and never end: the image arrives whole, or nothing is left of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from agent.image.registry.auth_config import Credentials
from tests.support.hostile_registry import HostileRegistry, hostile_registry, send_and_break, send_endlessly
from tests.support.image_archives import compressed, digest, image, tar
from tests.support.registry_host import DEADLINE_SECONDS, RegistryHost

pytestmark = [pytest.mark.root]

APP = image({"etc/one": os.urandom(200_000)}, {"etc/two": b"two"})


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[RegistryHost]:
    made = RegistryHost(tmp_path)
    await made.store.start()
    await made.registries.open()
    yield made
    await made.registries.close()
    await made.store.close()


@pytest_asyncio.fixture
async def registry() -> AsyncIterator[HostileRegistry]:
    async with hostile_registry() as made:
        yield made


async def test_a_blob_that_does_not_match_its_digest_is_refused(host: RegistryHost, registry: HostileRegistry) -> None:
    name, blob = registry.add(APP), registry.layer(APP, 1)
    registry.blobs[blob] = registry.blobs[blob][:-1] + b"!"
    await host.is_refused(name, f"filesystem layer verification failed for digest {blob}")


async def test_a_config_and_a_manifest_that_lie_are_refused(host: RegistryHost, registry: HostileRegistry) -> None:
    name = registry.add(APP)
    registry.blobs[APP.id] = APP.config.replace(b"amd64", b"amd63")
    await host.is_refused(name, "does not match its digest")
    _, body = registry.manifests["app/1"]
    wrong = f"sha256:{'0' * 64}"
    registry.manifests[f"app/{wrong}"] = registry.manifests["app/1"]
    await host.is_refused(f"{registry.host}/app@{wrong}", f"manifest verification failed for digest {wrong}")


async def test_a_layer_that_does_not_match_its_diff_id_is_refused(
    host: RegistryHost, registry: HostileRegistry
) -> None:
    other = compressed(tar({"etc/other": b"x"}))
    registry.blobs[digest(other)] = other
    layers = [{"mediaType": "x", "digest": digest(other), "size": len(other)}] * 2
    await host.is_refused(registry.add(APP, layers=layers), "does not match its diff id")


@pytest.mark.parametrize("difference", [-1, 1])
async def test_a_blob_of_another_length_than_announced_is_refused(
    host: RegistryHost, registry: HostileRegistry, difference: int
) -> None:
    name = registry.add(APP)
    manifest = json.loads(registry.manifests["app/1"][1])
    manifest["layers"][0]["size"] += difference
    await host.is_refused(registry.add(APP, layers=manifest["layers"]), "but its manifest announces")
    assert name


async def test_endless_blobs_and_manifests_are_cut_off(host: RegistryHost, registry: HostileRegistry) -> None:
    name = registry.add(APP)
    registry.answer("GET", f"/app/blobs/{registry.layer(APP)}", send_endlessly)
    await host.is_refused(name, "is longer than the")
    registry.answer("GET", "/app/manifests/1", send_endlessly)
    await host.is_refused(name, "is larger than")


async def test_a_gzip_bomb_ends_at_the_limit_of_a_layer(host: RegistryHost, registry: HostileRegistry) -> None:
    """Its 200 MB of zeros compress to 200 kB. The limit is lowered, so that the test needs no 64 GiB."""
    bomb = image({"zeros": bytes(200 << 20)})
    host.registries.layer_limit_bytes = 50 << 20
    await host.is_refused(registry.add(bomb), "exceeds the limit of")


async def test_a_broken_download_goes_on_where_it_broke(host: RegistryHost, registry: HostileRegistry) -> None:
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


async def test_a_registry_without_ranges_is_read_from_the_start_again(
    host: RegistryHost, registry: HostileRegistry
) -> None:
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


async def test_credentials_do_not_follow_a_redirect_to_another_host(
    host: RegistryHost, registry: HostileRegistry
) -> None:
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
    host: RegistryHost, registry: HostileRegistry, target: str, words: str
) -> None:
    async def redirect(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": target})

    registry.answer("GET", "/app/manifests/1", redirect)
    await host.is_refused(f"{registry.host}/app:1", words)


async def test_a_registry_that_always_wants_another_token_is_given_up(
    host: RegistryHost, registry: HostileRegistry
) -> None:
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
    host: RegistryHost, registry: HostileRegistry, answer: dict[str, object], words: str
) -> None:
    async def challenge(_request: web.Request) -> web.StreamResponse:
        header = f'Bearer realm="http://{registry.host}/v2/token"'
        return web.Response(status=401, headers={"WWW-Authenticate": header})

    async def token(_request: web.Request) -> web.StreamResponse:
        return web.Response(**answer)

    registry.answer("GET", "/", challenge)
    registry.answer("GET", "/token", token)
    await host.is_refused(f"{registry.host}/app:1", words)


async def test_a_full_disk_in_the_middle_of_a_pull_is_reported_and_leaves_nothing(
    tmp_path: Path, registry: HostileRegistry
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    await _run("mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(small))
    try:
        host = RegistryHost(small)
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
    host = RegistryHost(tmp_path)
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
