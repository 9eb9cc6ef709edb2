"""Pushes to registries that break off or want the upload elsewhere, and TLS that is really verified."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from agent.image.model import PushedImage
from agent.image.registry.auth_config import ANONYMOUS, Credentials
from agent.image.registry.connection import Connection
from agent.image.registry.errors import RegistryConnectionError, RegistryError
from agent.image.registry.registries_config import Endpoint, RegistriesConfig
from agent.image.registry.service import RegistryService
from agent.image.registry.transport import Request, Transport
from agent.image.store import ImageStore
from covey.clock import wall_clock
from covey.errors import CoveyError, InvalidArgumentError, NotFoundError
from tests.support.hostile_registry import HostileRegistry, hostile_registry
from tests.support.image_archives import digest, image
from tests.support.registry import certificates
from tests.support.token_server import server_tls

DEADLINE_SECONDS = 30
APP = image({"etc/one": os.urandom(2_000_000)})


class Uploads:
    """The upload side of a registry. `break_at` breaks the first PATCH after that many bytes."""

    def __init__(self, registry: HostileRegistry) -> None:
        self.registry = registry
        self.received: dict[str, bytes] = {}
        self.break_at = 0
        self.patches: list[str] = []
        self.location = ""
        handle = registry.handle

        async def route(request: web.Request) -> web.StreamResponse:
            if "/blobs/uploads/" in request.path or request.method in {"PUT", "PATCH", "HEAD"}:
                registry.requests.append(request)
                return await self._answer(request)
            return await handle(request)

        registry.handle = route  # type: ignore[method-assign]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        key = request.path.rpartition("/")[2]
        if request.method == "HEAD":
            return web.Response(status=200 if key in self.registry.blobs else 404)
        if request.method == "POST":
            if "mount" in request.query:
                return web.Response(status=404)
            key = str(len(self.received))
            self.received[key] = b""
            return web.Response(status=202, headers={"Location": self.location or f"/v2/app/blobs/uploads/{key}"})
        if request.method == "GET":
            end = len(self.received[key]) - 1
            return web.Response(status=204, headers={"Range": f"0-{end}", "Location": f"/v2/app/blobs/uploads/{key}"})
        if request.method == "PATCH":
            self.patches.append(request.headers.get("Content-Range", ""))
            async for chunk in request.content.iter_any():
                self.received[key] += chunk
                if self.break_at and len(self.received[key]) >= self.break_at:
                    self.break_at = 0
                    assert request.transport is not None
                    request.transport.abort()
                    return web.Response()
            return web.Response(status=202, headers={"Location": f"/v2/app/blobs/uploads/{key}"})
        if "/manifests/" in request.path:
            body = await request.read()
            self.registry.add_manifest("app", key, request.content_type, body)
            return web.Response(status=201, headers={"Docker-Content-Digest": digest(body)})
        self.registry.blobs[request.query["digest"]] = self.received[key]
        return web.Response(status=201)


class Host:
    def __init__(self, folder: Path) -> None:
        self.store = ImageStore(folder)
        self.registries = RegistryService(self.store.repository)

    async def push(self, name: str, credentials: Credentials = ANONYMOUS) -> tuple[PushedImage, ...]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            with self.registries.push(name, credentials=credentials) as job:
                return await job.result()


@pytest_asyncio.fixture
async def registry() -> AsyncIterator[HostileRegistry]:
    async with hostile_registry() as made:
        yield made


@pytest_asyncio.fixture
async def host(tmp_path: Path, registry: HostileRegistry) -> AsyncIterator[Host]:
    made = Host(tmp_path)
    await made.store.start()
    await made.registries.open()

    async def archive() -> AsyncIterator[bytes]:
        yield APP.archive([f"{registry.host}/app:1"])

    await made.store.load(archive())
    yield made
    await made.registries.close()
    await made.store.close()


async def test_a_broken_upload_goes_on_where_the_registry_says_that_it_stands(
    host: Host, registry: HostileRegistry
) -> None:
    uploads = Uploads(registry)
    uploads.break_at = 1
    (pushed,) = await host.push(f"{registry.host}/app:1")
    assert uploads.patches[0] == ""
    assert re.fullmatch(r"[1-9]\d*-\d+", uploads.patches[1])
    assert all(digest(data) == name for name, data in registry.blobs.items())
    assert f"app/{pushed.digest}" in registry.manifests


async def test_credentials_do_not_follow_an_upload_to_another_host(host: Host, registry: HostileRegistry) -> None:
    async def ask(request: web.Request) -> web.StreamResponse:
        headers = {"WWW-Authenticate": 'Basic realm="test"'}
        return web.Response(status=200 if "Authorization" in request.headers else 401, headers=headers)

    registry.answer("GET", "/", ask)
    async with hostile_registry() as elsewhere:
        Uploads(registry).location = f"http://{elsewhere.host}/v2/app/blobs/uploads/0"
        with pytest.raises(CoveyError, match="manifest unknown"):
            await host.push(f"{registry.host}/app:1", Credentials("joe", "secret"))
        assert any("Authorization" in request.headers for request in registry.requests)
        assert elsewhere.requests
        assert not [request for request in elsewhere.requests if "Authorization" in request.headers]


async def test_a_push_of_what_is_not_here_is_named_as_docker_does(host: Host, registry: HostileRegistry) -> None:
    name = f"{registry.host}/nothing"
    with pytest.raises(NotFoundError, match=f"An image does not exist locally with the tag: {name}"):
        await host.push(f"{name}:1")
    with pytest.raises(NotFoundError, match=f"tag does not exist: {registry.host}/app:2"):
        await host.push(f"{registry.host}/app:2")


async def _serve_tls(context: ssl.SSLContext) -> tuple[web.AppRunner, str]:
    app = web.Application()

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="{}")

    app.router.add_get("/v2/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    return runner, f"127.0.0.1:{runner.addresses[0][1]}"


async def test_certificates_are_verified_against_the_folder_of_the_registry(tmp_path: Path) -> None:
    """Loopback registries are insecure by default; this endpoint is verified as one elsewhere would be."""
    ca, context = server_tls(tmp_path / "tls")
    runner, name = await _serve_tls(context)
    transport = Transport(RegistriesConfig(certs_dirs=(str(tmp_path / "certs.d"),)))
    endpoint = Endpoint(f"https://{name}", name)
    try:
        with pytest.raises(RegistryConnectionError, match="failed to verify certificate"):
            await _get(transport, endpoint)
        folder = tmp_path / "certs.d" / name
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(ca.read_bytes())
        transport.configure(RegistriesConfig(certs_dirs=(str(tmp_path / "certs.d"),)))
        assert await _get(transport, endpoint) == 200
        (folder / "client.cert").write_bytes(ca.read_bytes())
        transport.configure(RegistriesConfig(certs_dirs=(str(tmp_path / "certs.d"),)))
        with pytest.raises(InvalidArgumentError, match=r"missing key client.key for client certificate .*\.crt"):
            await _get(transport, endpoint)
    finally:
        await transport.close()
        await runner.cleanup()


async def test_a_registry_that_wants_a_client_certificate_gets_it(tmp_path: Path) -> None:
    ca, certificate, key = certificates(tmp_path / "tls")
    _, context = server_tls(tmp_path / "server")
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    runner, name = await _serve_tls(context)
    folder = tmp_path / "certs.d" / name
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes((tmp_path / "server/ca.crt").read_bytes())
    transport = Transport(RegistriesConfig(certs_dirs=(str(tmp_path / "certs.d"),)))
    endpoint = Endpoint(f"https://{name}", name)
    try:
        with pytest.raises(CoveyError):
            await _get(transport, endpoint)
        (folder / "client.cert").write_bytes(certificate.read_bytes())
        (folder / "client.key").write_bytes(key.read_bytes())
        transport.configure(RegistriesConfig(certs_dirs=(str(tmp_path / "certs.d"),)))
        assert await _get(transport, endpoint) == 200
    finally:
        await transport.close()
        await runner.cleanup()


async def test_credentials_do_not_leave_an_encrypted_registry_for_an_unencrypted_token_server(tmp_path: Path) -> None:
    ca, context = server_tls(tmp_path / "tls")
    app, asked = web.Application(), []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        header = 'Bearer realm="http://127.0.0.1:1/token"'
        return web.Response(status=401, headers={"WWW-Authenticate": header})

    app.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    name = f"127.0.0.1:{runner.addresses[0][1]}"
    folder = tmp_path / "certs.d" / name
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(ca.read_bytes())
    transport = Transport(RegistriesConfig(certs_dirs=(str(tmp_path / "certs.d"),)))
    connection = Connection(
        transport, Endpoint(f"https://{name}", name), "app", Credentials("joe", "secret"), wall_clock
    )
    try:
        await connection.ping()
        with pytest.raises(RegistryError, match="not encrypted; the credentials were not sent"):
            async with connection.request("GET", connection.url("manifests/1")):
                pass
        assert asked == ["/v2/"]
    finally:
        await transport.close()
        await runner.cleanup()


async def _get(transport: Transport, endpoint: Endpoint) -> int:
    async with transport.send(Request(method="GET", url=f"{endpoint.url}/v2/"), endpoint) as response:
        return response.status
