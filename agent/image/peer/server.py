"""Image server of a node: manifests and blobs of its images for other nodes of the cluster.

    GET /v2/IMAGE/manifests/image     IMAGE is the 64 hexadecimal digits of the image id
    GET /v2/IMAGE/manifests/DIGEST    an index or manifest that a registry has of the image
    GET /v2/IMAGE/blobs/DIGEST        with byte ranges

Invariant: each request is for one image, and the leader has said within `AUTHORIZED_SECONDS` that the caller may fetch it.
Invariant: connections are bounded, in all and for each address.
"""

import asyncio
import logging
import os
import re
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from agent.identity import IdentityStore, NodeIdentity
from agent.image.content.repository import ImageRepository
from agent.image.peer import http_server, tls
from agent.image.peer.blocking_connection import BlockingConnection
from agent.image.peer.http_server import BadRequestError, Request
from agent.image.peer.manifest import manifest_of
from agent.image.registry.manifests import Manifest
from covey.errors import CoveyError, NotFoundError, PermissionDeniedError, UnavailableError
from covey.task_group import TaskGroup

log = logging.getLogger(__name__)

AUTHORIZED_SECONDS = 60.0
CONCURRENT_BLOBS = 12
CONNECTIONS = 64
CONNECTIONS_PER_ADDRESS = 16
MANIFESTS_KEPT = 32
BACKLOG = 64
HANDSHAKE_SECONDS = 10.0
IDLE_SECONDS = 30.0
STALL_SECONDS = 60.0
_ACCEPT_PAUSE_SECONDS = 0.5
_PATH = re.compile(r"/v2/([0-9a-f]{64})/(manifests|blobs)/([a-z0-9:]{1,80})")
_ERRORS: dict[type[CoveyError], tuple[int, str]] = {
    NotFoundError: (404, "NAME_UNKNOWN"),
    PermissionDeniedError: (403, "DENIED"),
    CoveyError: (503, "UNAVAILABLE"),
}

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
        self._connections = Counter[str]()
        self._served: tuple[NodeIdentity, ssl.SSLContext] | None = None

    @asynccontextmanager
    async def serving(self, host: str | None, port: int) -> AsyncIterator[None]:
        """Serve until the end of the block. Raises UnavailableError if the port is in use."""
        await self._tls_context()
        try:
            listener = _listener(host, port)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise UnavailableError(
                f"this node serves no images to other nodes: port {port}: {reason}; free the port, or set --image-port to another"
            ) from None
        with listener:
            async with TaskGroup() as group:
                serving = group.create_task(self._serve(listener))
                try:
                    yield
                finally:
                    serving.cancel()

    async def _serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        async with TaskGroup() as connections:
            while True:
                try:
                    accepted, address = await loop.sock_accept(listener)
                except OSError as error:  # no file descriptor is left, or the caller has gone
                    log.warning("the image server cannot accept a connection: %s", error.strerror)
                    await asyncio.sleep(_ACCEPT_PAUSE_SECONDS)
                    continue
                connections.create_task(self._serve_connection(accepted, str(address[0])))

    async def _serve_connection(self, accepted: socket.socket, address: str) -> None:
        """Serve requests until the caller closes, stalls or misbehaves."""
        if self._connections.total() >= CONNECTIONS or self._connections[address] >= CONNECTIONS_PER_ADDRESS:
            accepted.close()
            return
        self._connections[address] += 1
        try:
            await self._serve_requests(accepted)
        except (OSError, BadRequestError, CoveyError) as error:  # OSError: also of TLS, and TimeoutError
            log.debug("the image server closed a connection from %s: %s", address, error)
        finally:
            self._connections[address] -= 1
            self._connections += Counter()  # forgets addresses without connections

    async def _serve_requests(self, accepted: socket.socket) -> None:
        with accepted:
            context = await self._tls_context()
            connection = BlockingConnection(accepted, context, server_hostname=None, stall_seconds=STALL_SECONDS)
        try:
            await connection.handshake(HANDSHAKE_SECONDS)
            node_id = tls.peer_node(connection.socket.getpeercert(), self._identities.require().cluster_id)
            with cast("BinaryIO", connection.socket.makefile("rb")) as reader:
                while True:
                    async with asyncio.timeout(IDLE_SECONDS):
                        request = await connection.run(partial(http_server.read_request, reader))
                    if request is None:
                        return
                    await self._answer(connection, node_id, request)
                    if not request.keep_alive:
                        return
        finally:
            connection.close()

    async def _tls_context(self) -> ssl.SSLContext:
        """The context for the next connection, with the present certificate and roots."""
        identity = self._identities.require()
        if self._served is None or self._served[0] != identity:
            try:
                self._served = identity, await asyncio.to_thread(tls.server_context, identity, self._run_dir)
            except OSError as error:
                if self._served is None:
                    raise UnavailableError(f"cannot serve images to other nodes: {error}") from error
                log.warning("the image server keeps its certificate: %s", error)
        return self._served[1]

    async def _answer(self, connection: BlockingConnection, node_id: str, request: Request) -> None:
        try:
            await self._serve_content(connection, node_id, request)
        except CoveyError as error:
            status, code = next((answer for kind, answer in _ERRORS.items() if isinstance(error, kind)))
            body = msgspec.json.encode({"errors": [{"code": code, "message": error.message}]})
            await connection.run(partial(http_server.send_body, connection, status, body, "application/json"))

    async def _serve_content(self, connection: BlockingConnection, node_id: str, request: Request) -> None:
        found = _PATH.fullmatch(request.path)
        if request.method != "GET" or found is None:
            raise NotFoundError("this port serves manifests and blobs of images only")
        manifest = await self._allowed_manifest(node_id, f"sha256:{found[1]}")
        if found[2] == "manifests":
            body, media_type = await self._manifest_body(manifest, found[3])
            await connection.run(partial(http_server.send_body, connection, 200, body, media_type))
            return
        path = await self._blob_path(manifest, found[3])
        async with self._slots, self._repository.sweep_paused():
            await connection.run(partial(http_server.send_file, connection, path, request.start))

    async def _manifest_body(self, manifest: Manifest, reference: str) -> tuple[bytes, str]:
        if reference in {"image", manifest.digest}:
            return manifest.body, manifest.media_type
        row = self._repository.snapshot.manifests.get(reference)
        found = None if row is None else await asyncio.to_thread(self._repository.content.read_verified, row.digest)
        if row is None or row.image_id != manifest.config.digest or found is None:
            raise NotFoundError(f"the image has no manifest {reference}")
        return found, row.media_type

    async def _blob_path(self, manifest: Manifest, digest: str) -> Path:
        if digest not in {manifest.config.digest, *(layer.digest for layer in manifest.layers)}:
            raise NotFoundError(f"the image has no blob {digest}")
        path = self._repository.content.blob(digest)
        if not await asyncio.to_thread(path.exists):
            raise NotFoundError(f"the blob {digest} was removed")
        return path

    async def _allowed_manifest(self, node_id: str, image_id: str) -> Manifest:
        """The manifest of an image, if the node may fetch it."""
        if not node_id:
            raise PermissionDeniedError("this port serves nodes of the cluster only")
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


def _listener(host: str | None, port: int) -> socket.socket:
    """A listening socket: of an address, or of all of both families. Raises OSError."""
    if host is not None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    elif socket.has_dualstack_ipv6():
        listener = socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
    else:
        listener = socket.create_server(("", port), backlog=BACKLOG)
    listener.setblocking(False)
    return listener
