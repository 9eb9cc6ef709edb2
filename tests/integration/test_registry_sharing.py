"""Pulls that share work, mirrors, platforms, names and tokens, with a registry of the tests' own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from agent.image.model import Progress
from agent.image.registry.auth_config import ANONYMOUS, Credentials
from agent.image.registry.challenge import Challenge
from agent.image.registry.manifests import DOCKER_INDEX
from agent.image.registry.registries_config import Endpoint, RegistriesConfig, RegistryConfig
from agent.image.registry.tokens import TokenSource
from agent.image.registry.transport import Transport
from covey.clock import SECOND
from covey.errors import NotFoundError
from tests.support.hostile_registry import HostileRegistry, hostile_registry
from tests.support.image_archives import TestImage, digest, image
from tests.support.registry_host import DEADLINE_SECONDS, RegistryHost
from tests.support.switched_hosts import eventually

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


async def test_two_pulls_at_once_are_one_download_and_the_last_follower_cancels_it(
    host: RegistryHost, registry: HostileRegistry
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
    host: RegistryHost, registry: HostileRegistry
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
        mirror.answer("GET", "/", ask)
        await host.store.remove(name)
        await host.pull(name, Credentials("joe", "secret"))
        assert registry.asked("/app/manifests/1"), "a mirror that wants a password is passed over"
        assert not [request for request in mirror.requests if "Authorization" in request.headers]


async def test_the_platform_of_an_index_is_chosen_and_a_missing_one_named(
    host: RegistryHost, registry: HostileRegistry
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


async def test_a_layer_that_needs_the_one_below_waits_for_it(host: RegistryHost, registry: HostileRegistry) -> None:
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
    host: RegistryHost, registry: HostileRegistry
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
    host: RegistryHost, registry: HostileRegistry
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


async def test_names_without_a_registry_are_those_of_docker_hub(host: RegistryHost, registry: HostileRegistry) -> None:
    """A mirror of Docker Hub sees the names: official images are below `library/`."""
    registry.add(APP, "library/tool", "latest")
    registry.add(APP, "team/tool", "2")
    host.registries.configure(RegistriesConfig(registry_mirrors=(f"http://{registry.host}/",)))
    seen: list[Progress] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        with host.registries.pull("tool") as job:
            seen += [step async for step in job]
            await job.result()
    await host.pull("docker.io/team/tool:2")
    assert seen[0].status == "Pulling from library/tool"
    assert seen[-1].status == "Status: Downloaded newer image for tool:latest"
    assert set(host.store.get("tool").repo_tags) == {"tool:latest", "team/tool:2"}


async def test_tokens_are_kept_until_they_expire_and_sent_as_they_were_given(
    host: RegistryHost, registry: HostileRegistry
) -> None:
    name, tokens = registry.add(APP), 0

    async def ask(request: web.Request) -> web.StreamResponse:
        header = f'Bearer realm="http://{registry.host}/v2/token",service="test"'
        return web.Response(status=401, headers={"WWW-Authenticate": header})

    async def token(_request: web.Request) -> web.StreamResponse:
        nonlocal tokens
        tokens += 1
        return web.json_response({"access_token": f"t{tokens}", "expires_in": 300})

    registry.answer("GET", "/", ask)
    registry.answer("GET", "/token", token)
    await host.pull(name)
    assert tokens == 1
    assert {request.headers.get("Authorization") for request in registry.requests[2:]} == {"Bearer t1"}
    now = 0
    challenge = Challenge("bearer", {"realm": f"http://{registry.host}/v2/token"})
    endpoint = Endpoint(f"http://{registry.host}", registry.host, verify=False)
    transport = Transport(RegistriesConfig())
    source = TokenSource(transport, endpoint, ANONYMOUS, lambda: now)
    try:
        assert [await source.token(challenge, ("a",)) for _ in range(2)] == ["t2", "t2"]
        assert await source.token(challenge, ("b",)) == "t3"
        now = 300 * SECOND
        assert await source.token(challenge, ("a",)) == "t4"
    finally:
        await transport.close()
    registry.requests.clear()
    await host.store.remove(name)
    await host.pull(name, Credentials(registry_token="given"))
    assert {request.headers.get("Authorization") for request in registry.asked("/app/manifests/1")} == {"Bearer given"}
