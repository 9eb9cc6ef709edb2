"""Connection to the image server of another node, used like a connection to a registry."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec

from agent.identity import NodeIdentity
from agent.image.peer import tls
from agent.image.registry.errors import RegistryConnectionError, status_error
from agent.image.registry.transport import read_error_body

CONNECT_SECONDS = 10
STALL_SECONDS = 60
READ_BUFFER_BYTES = 1 << 20


class ImagePeer(msgspec.Struct, frozen=True):
    """A node that serves images at HOST:PORT."""

    node_id: str
    addr: str


class PeerConnection:
    """Requests for one image of one peer, within a block of `opened`."""

    def __init__(self, peer: ImagePeer, image_id: str, identity: NodeIdentity, run_dir: Path) -> None:
        self.peer = peer
        self._base = f"https://{peer.addr}/v2/{image_id.removeprefix('sha256:')}"
        self._identity = identity
        self._run_dir = run_dir
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["PeerConnection"]:
        """Open the connection for the block."""
        context = await asyncio.to_thread(tls.client_context, self._identity, self._run_dir)
        connector = aiohttp.TCPConnector(ssl=context, limit=8)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=STALL_SECONDS)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, read_bufsize=READ_BUFFER_BYTES
        ) as session:
            self._session = session
            yield self

    def url(self, rest: str) -> str:
        """The URL of something of the image, such as `blobs/sha256:…`."""
        return f"{self._base}/{rest}"

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        expect: tuple[int, ...] = (200,),
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request. A status that is not in `expect` raises RegistryStatusError in the peer's words."""
        if self._session is None:
            raise RegistryConnectionError("the connection is not open")
        try:
            async with self._session.request(
                method, url, headers=headers, server_hostname=self.peer.node_id, allow_redirects=False
            ) as response:
                if response.status not in expect:
                    raise status_error(response.status, response.reason or "", await read_error_body(response))
                yield response
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise RegistryConnectionError(f"node {self.peer.node_id} at {self.peer.addr}: {error}") from error
