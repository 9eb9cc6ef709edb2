"""A registry of the tests' own on loopback, which can lie, stall, break connections, redirect and demand credentials."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from agent.image.registry.manifests import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST
from tests.support.image_archives import TestImage, compressed, digest

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HostileRegistry:
    """Serves what it holds. `answer` replaces the answer to a path; `requests` are all requests in order."""

    def __init__(self) -> None:
        self.host = ""
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.requests: list[web.Request] = []
        self._answers: dict[tuple[str, str], Handler] = {}

    def add(self, made: TestImage, name: str = "app", tag: str = "1", **changes: object) -> str:
        """Hold an image. `changes` replace fields of the manifest. Returns its reference."""
        layers = []
        for layer in made.layers:
            data = compressed(layer)
            self.blobs[digest(data)] = data
            layers.append({"mediaType": DOCKER_LAYER, "digest": digest(data), "size": len(data)})
        self.blobs[made.id] = made.config
        config = {"mediaType": DOCKER_CONFIG, "digest": made.id, "size": len(made.config)}
        manifest = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": layers, **changes}
        return self.add_manifest(name, tag, DOCKER_MANIFEST, json.dumps(manifest).encode())

    def add_manifest(self, name: str, tag: str, media_type: str, body: bytes) -> str:
        self.manifests[f"{name}/{tag}"] = self.manifests[f"{name}/{digest(body)}"] = (media_type, body)
        return f"{self.host}/{name}:{tag}"

    def layer(self, made: TestImage, number: int = 0) -> str:
        """The digest of a layer's blob."""
        return digest(compressed(made.layers[number]))

    def answer(self, method: str, path: str, handler: Handler) -> None:
        """Answer a path, below `/v2`, with a handler of the test."""
        self._answers[method, path] = handler

    def asked(self, path: str, method: str = "GET") -> list[web.Request]:
        return [request for request in self.requests if request.method == method and request.path == f"/v2{path}"]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        path = request.path.removeprefix("/v2")
        if (request.method, path) in self._answers:
            return await self._answers[request.method, path](request)
        if path == "/":
            return web.json_response({})
        name, _, rest = path.strip("/").partition("/manifests/")
        if rest and f"{name}/{rest}" in self.manifests:
            media_type, body = self.manifests[f"{name}/{rest}"]
            return web.Response(body=body, content_type=media_type, headers={"Docker-Content-Digest": digest(body)})
        blob = path.rpartition("/blobs/")[2]
        if blob in self.blobs:
            return web.Response(body=self.blobs[blob], content_type="application/octet-stream")
        return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}, status=404)


@contextlib.asynccontextmanager
async def hostile_registry() -> AsyncIterator[HostileRegistry]:
    made = HostileRegistry()
    app = web.Application(client_max_size=1 << 30)

    async def dispatch(request: web.Request) -> web.StreamResponse:
        return await made.handle(request)  # a test may have replaced it

    app.router.add_route("*", "/{tail:.*}", dispatch)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        made.host = f"127.0.0.1:{runner.addresses[0][1]}"
        yield made
    finally:
        await runner.cleanup()


async def send_and_break(request: web.Request, data: bytes, length: int) -> web.StreamResponse:
    """Announce `length` bytes, send `data`, and break the connection."""
    response = web.StreamResponse(headers={"Content-Length": str(length)})
    await response.prepare(request)
    await response.write(data)
    await asyncio.sleep(0)
    assert request.transport is not None
    request.transport.close()
    return response


async def send_endlessly(request: web.Request) -> web.StreamResponse:
    """Chunks without an end, until the client leaves."""
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b"x" * 65_536)
    return response
