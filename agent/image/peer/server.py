"""Image server of a node: manifests and blobs of its images for other nodes of the cluster.

    GET /v2/IMAGE/manifests/image     IMAGE is the 64 hexadecimal digits of the image id
    GET /v2/IMAGE/manifests/DIGEST    an index or manifest that a registry has of the image
    GET /v2/IMAGE/blobs/DIGEST        with byte ranges

Invariant: each request is for one image, and the leader has said within `AUTHORIZED_SECONDS` that the caller may fetch it.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from aiohttp import web

from agent.identity import IdentityStore
from agent.image.content.repository import ImageRepository
from agent.image.peer import tls
from agent.image.peer.manifest import manifest_of
from agent.image.registry.manifests import Manifest
from covey.errors import CoveyError, NotFoundError, PermissionDeniedError, UnavailableError

log = logging.getLogger(__name__)

AUTHORIZED_SECONDS = 60.0
CONCURRENT_BLOBS = 12
MANIFESTS_KEPT = 32
CLOSE_SECONDS = 2.0
CHUNK_BYTES = 1 << 20
STALL_SECONDS = 60.0
_CHECK_SECONDS = 10.0

Authorize = Callable[[str, str], Awaitable[None]]
"""Asks the leader whether a node may fetch an image. Raises CoveyError."""


class PeerServer:
    """One per membership. `authorize` asks the leader."""

    def __init__(
        self, repository: ImageRepository, identities: IdentityStore, run_dir: Path, authorize: Authorize
    ) -> None:
        self._repository = repository
        self._identities = identities
        self._run_dir = run_dir
        self._authorize = authorize
        self._authorized: dict[tuple[str, str], float] = {}
        self._manifests: dict[str, Manifest] = {}
        self._slots = asyncio.Semaphore(CONCURRENT_BLOBS)

    @asynccontextmanager
    async def serving(self, host: str | None, port: int) -> AsyncIterator[None]:
        """Serve until the end of the block. Raises UnavailableError if the port is in use."""
        app = web.Application(middlewares=[_errors_as_json], client_max_size=0)
        app.router.add_get("/v2/{image}/manifests/{reference}", self._manifest)
        app.router.add_get("/v2/{image}/blobs/{digest}", self._blob)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_SECONDS, handler_cancellation=True)
        await runner.setup()
        try:
            site = await self._listen(runner, host, port)
            async with asyncio.TaskGroup() as group:
                renewal = group.create_task(self._follow_identity(runner, site, host, port))
                try:
                    yield
                finally:
                    renewal.cancel()
        finally:
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner, host: str | None, port: int) -> web.TCPSite:
        context = await asyncio.to_thread(tls.server_context, self._identities.require(), self._run_dir)
        site = web.TCPSite(runner, host, port, ssl_context=context, shutdown_timeout=CLOSE_SECONDS)
        try:
            await site.start()
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise UnavailableError(
                f"this node serves no images to other nodes: port {port}: {reason}; free the port, or set --image-port to another"
            ) from None
        return site

    async def _follow_identity(self, runner: web.AppRunner, site: web.TCPSite, host: str | None, port: int) -> None:
        """Listen with the new certificate and roots after a renewal."""
        served = self._identities.require()
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            try:
                identity = self._identities.require()
                if identity != served:
                    await site.stop()
                    site, served = await self._listen(runner, host, port), identity
            except CoveyError as error:
                log.warning("the image server keeps its certificate: %s", error.message)

    async def _manifest(self, request: web.Request) -> web.Response:
        manifest, reference = await self._allowed_manifest(request), request.match_info["reference"]
        body, media_type = manifest.body, manifest.media_type
        if reference not in {"image", manifest.digest}:
            row = self._repository.snapshot.manifests.get(reference)
            found = None if row is None else await asyncio.to_thread(self._repository.content.read_verified, row.digest)
            if row is None or row.image_id != manifest.config.digest or found is None:
                raise NotFoundError(f"the image has no manifest {reference}")
            body, media_type = found, row.media_type
        return web.Response(body=body, headers={"Content-Type": media_type})

    async def _blob(self, request: web.Request) -> web.StreamResponse:
        manifest = await self._allowed_manifest(request)
        digest = request.match_info["digest"]
        if digest not in {manifest.config.digest, *(layer.digest for layer in manifest.layers)}:
            raise NotFoundError(f"the image has no blob {digest}")
        path = self._repository.content.blob(digest)
        if not await asyncio.to_thread(path.exists):
            raise NotFoundError(f"the blob {digest} was removed")
        async with self._slots, self._repository.sweep_paused():
            return await _send_file(request, path)

    async def _allowed_manifest(self, request: web.Request) -> Manifest:
        """The manifest of the request's image, if the caller may fetch it."""
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        node_id = tls.peer_node(certificate, self._identities.require().cluster_id)
        if not node_id:
            raise PermissionDeniedError("this port serves nodes of the cluster only")
        image_id = f"sha256:{request.match_info['image']}"
        if image_id not in self._repository.images:
            raise NotFoundError(f"No such image: {image_id}")
        now = time.monotonic()
        if self._authorized.get((node_id, image_id), -AUTHORIZED_SECONDS) + AUTHORIZED_SECONDS < now:
            await self._authorize(node_id, image_id)
            self._authorized = {key: at for key, at in self._authorized.items() if at + AUTHORIZED_SECONDS >= now}
            self._authorized[node_id, image_id] = now
        if image_id not in self._manifests:
            made = await asyncio.to_thread(manifest_of, image_id, self._repository.snapshot, self._repository.content)
            while len(self._manifests) >= MANIFESTS_KEPT:
                self._manifests.pop(next(iter(self._manifests)))
            self._manifests[image_id] = made
        return self._manifests[image_id]


async def _send_file(request: web.Request, path: Path) -> web.StreamResponse:
    """Send a file, from the start of the requested range to its end."""
    with await asyncio.to_thread(path.open, "rb", 0) as file:
        size, start = os.fstat(file.fileno()).st_size, request.http_range.start or 0
        if not 0 <= start <= size:
            raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = size - start
        response.content_type = "application/octet-stream"
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            file.seek(start)
        await response.prepare(request)
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            async with asyncio.timeout(STALL_SECONDS):
                await response.write(chunk)
        await response.write_eof()
        return response


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except NotFoundError as error:
        status, code, message = 404, "NAME_UNKNOWN", error.message
    except PermissionDeniedError as error:
        status, code, message = 403, "DENIED", error.message
    except CoveyError as error:
        status, code, message = 503, "UNAVAILABLE", error.message
    body = msgspec.json.encode({"errors": [{"code": code, "message": message}]})
    return web.Response(body=body, status=status, content_type="application/json")
