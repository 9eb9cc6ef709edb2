"""Client of another node's image server: manifests and blobs of one image, verified.

Requests take a connection that is idle, or make one. Each request has a connection for itself until its response is read.
"""

import asyncio
import http.client
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from agent.identity import NodeIdentity
from agent.image.content.descriptor import Descriptor
from agent.image.peer import tls
from agent.image.peer.blocking_connection import BlockingConnection
from agent.image.registry.blob_download import BUFFER_BYTES, BlobDownload
from agent.image.registry.client import Answer, ContentClient
from agent.image.registry.errors import RegistryConnectionError, RegistryContentError, RegistryError, status_error

CONNECT_SECONDS = 10.0
STALL_SECONDS = 60.0
IDLE_SECONDS = 20.0
_ERROR_BODY_BYTES = 1 << 16

T = TypeVar("T")


class ImagePeer(msgspec.Struct, frozen=True):
    """A node that serves images at HOST:PORT."""

    node_id: str
    addr: str


class _StaleConnectionError(ConnectionError):
    """The other node closed the connection before it answered, as it does with idle ones."""


class PeerClient(ContentClient):
    """Requests for one image of one peer, within a block of `opened`."""

    def __init__(self, peer: ImagePeer, image_id: str, identity: NodeIdentity, run_dir: Path) -> None:
        self._peer = peer
        self._base = f"/v2/{image_id.removeprefix('sha256:')}"
        self._identity = identity
        self._run_dir = run_dir
        self._context: ssl.SSLContext | None = None
        self._idle: list[tuple[float, BlockingConnection]] = []

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["PeerClient"]:
        """Connections may be made within the block. No request may be left at its end."""
        self._context = await asyncio.to_thread(tls.client_context, self._identity, self._run_dir)
        try:
            yield self
        finally:
            self._context = None
            while self._idle:
                self._idle.pop()[1].close()

    async def get(self, rest: str, limit_bytes: int, what: str, headers: Mapping[str, str]) -> Answer:
        def read(response: http.client.HTTPResponse) -> Answer:
            body = response.read(limit_bytes + 1)
            if len(body) > limit_bytes:
                raise RegistryError(f"{what} is larger than {limit_bytes} bytes")
            return Answer(body, {name.lower(): value for name, value in response.getheaders()})

        return await self.request(rest, headers, 200, read)

    def download(
        self, blob: Descriptor, path: Path, on_written: Callable[[int], None], on_retry: Callable[[int], None]
    ) -> "PeerBlobDownload":
        return PeerBlobDownload(self, blob, path, on_written, on_retry)

    async def request(
        self, rest: str, headers: Mapping[str, str], expect: int, read: Callable[[http.client.HTTPResponse], T]
    ) -> T:
        """GET, and read the response in the connection's thread. RegistryStatusError for another status than expected."""
        try:
            idle = self._take_idle()
            if idle is not None:
                with suppress(_StaleConnectionError):
                    return await self._exchange(idle, rest, headers, expect, read)
            return await self._exchange(await self._connect(), rest, headers, expect, read)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise RegistryConnectionError(f"node {self._peer.node_id} at {self._peer.addr}: {reason}") from error

    async def _exchange(
        self,
        connection: BlockingConnection,
        rest: str,
        headers: Mapping[str, str],
        expect: int,
        read: Callable[[http.client.HTTPResponse], T],
    ) -> T:
        try:
            found, is_reusable = await connection.run(
                lambda: _exchange(connection, f"{self._base}/{rest}", headers, expect, read)
            )
        except BaseException:
            connection.close()
            raise
        if is_reusable and self._context is not None:
            self._idle.append((time.monotonic(), connection))
        else:
            connection.close()
        return found

    def _take_idle(self) -> BlockingConnection | None:
        while self._idle:
            since, connection = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS:
                return connection
            connection.close()
        return None

    async def _connect(self) -> BlockingConnection:
        if self._context is None:
            raise RegistryConnectionError("the connection is not open")
        async with asyncio.timeout(CONNECT_SECONDS):
            plain = await _connected_socket(self._peer.addr)
        connection = BlockingConnection(
            plain, self._context, server_hostname=self._peer.node_id, stall_seconds=STALL_SECONDS
        )
        try:
            await connection.handshake(CONNECT_SECONDS)
        except BaseException:
            connection.close()
            raise
        return connection


class PeerBlobDownload(BlobDownload):
    """A download from another node, in the thread of its connection."""

    def __init__(
        self,
        client: PeerClient,
        blob: Descriptor,
        path: Path,
        on_written: Callable[[int], None],
        on_retry: Callable[[int], None],
    ) -> None:
        super().__init__(blob, path, on_written, on_retry)
        self._client = client

    async def _receive(self, target: BinaryIO) -> None:
        loop, offset = asyncio.get_running_loop(), self._written

        def read(response: http.client.HTTPResponse) -> None:
            remaining = self._blob.size - offset
            if response.length != remaining:
                raise RegistryContentError(
                    f"the node has {response.length} more bytes of {self._blob.digest}, but its manifest announces {remaining}"
                )
            buffer = memoryview(bytearray(min(BUFFER_BYTES, remaining)))
            while size := response.readinto(buffer):
                self._write(target, buffer[:size])
                loop.call_soon_threadsafe(self._on_written, self._written)

        headers = {"Range": f"bytes={offset}-"} if offset else {}
        await self._client.request(f"blobs/{self._blob.digest}", headers, 206 if offset else 200, read)


def _exchange(
    connection: BlockingConnection,
    path: str,
    headers: Mapping[str, str],
    expect: int,
    read: Callable[[http.client.HTTPResponse], T],
) -> tuple[T, bool]:
    """Send a request and read its response. Returns what was read, and whether the connection can be used again. Blocks."""
    exchange = http.client.HTTPConnection("node")
    exchange.auto_open = 0  # it must not connect by itself
    exchange.sock = connection.socket
    try:
        exchange.request("GET", path, headers=dict(headers))
        opened = exchange.getresponse()
    except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise _StaleConnectionError(str(error)) from error
    with opened as response:
        if response.status != expect:
            raise status_error(response.status, response.reason, response.read(_ERROR_BODY_BYTES))
        found = read(response)
        return found, response.isclosed() and not response.will_close


async def _connected_socket(addr: str) -> socket.socket:
    """A TCP connection to HOST:PORT. Raises OSError."""
    loop = asyncio.get_running_loop()
    host, _, port = addr.rpartition(":")
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM
    ):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setblocking(False)
            await loop.sock_connect(connection, address)
        except BaseException as error:
            connection.close()
            if not isinstance(error, OSError):
                raise
            failure = error
        else:
            return connection
    raise failure
