"""Images between two nodes in one process: over real TLS, with a node that lies or breaks, and with callers that stall."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from agent.identity import IdentityStore, NodeIdentity
from agent.image.peer import server, tls
from agent.image.peer.client import ImagePeer
from agent.image.peer.fetch import PeerFetcher
from agent.image.peer.manifest import manifest_of
from agent.image.peer.server import PeerServer
from agent.image.registry import blob_download
from agent.image.store import ImageStore
from covey.clock import HOUR, wall_clock
from covey.errors import CoveyError, PermissionDeniedError
from covey.states import NodeRole
from manager.ca.certificates import RootPair, create_root, issue_certificate, new_csr
from tests.support.image_archives import TestImage, image
from tests.support.ports import free_ports

pytestmark = pytest.mark.root

DEADLINE_SECONDS = 30
APP = image({"etc/big": secrets.token_bytes(3_000_000)}, {"etc/small": b"x"})
ROOT = create_root("c", wall_clock())


class Node:
    """A node with nothing but an image store and its certificate."""

    def __init__(self, folder: Path, node_id: str, root: RootPair = ROOT) -> None:
        folder.mkdir()
        self.folder = folder
        self.id = node_id
        self.store = ImageStore(folder)
        self.identities = IdentityStore(folder)
        key, csr = new_csr()
        certificate = issue_certificate(
            root, csr, node_id=node_id, role=NodeRole.WORKER, cluster_id="c", now_ns=wall_clock(), lifetime_ns=HOUR
        )
        self.identities.save(NodeIdentity.parse(certificate=certificate, key=key, root=root.cert))

    @contextlib.asynccontextmanager
    async def serving(self, authorize: Callable[[str, str], Awaitable[None]]) -> AsyncIterator[ImagePeer]:
        """Its image server."""
        port = free_ports(1)[0]
        made = PeerServer(self.store.repository, self.identities, self.folder, authorize)
        async with made.serving("127.0.0.1", port):
            yield ImagePeer(self.id, f"127.0.0.1:{port}")

    async def fetch(self, peer: ImagePeer, made: TestImage = APP) -> None:
        fetcher = PeerFetcher(self.store.repository, self.identities, self.folder)
        await fetcher.open()
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await fetcher.fetch(made.id, [peer], ["app:1"], lambda _progress: None)
        finally:
            await fetcher.close()

    def connect(self, peer: ImagePeer) -> ssl.SSLSocket:
        """A blocking connection to a peer, for a caller that misbehaves."""
        host, _, port = peer.addr.rpartition(":")
        context = tls.client_context(self.identities.require(), self.folder)
        return context.wrap_socket(socket.create_connection((host, int(port)), 10), server_hostname=peer.node_id)


@contextlib.asynccontextmanager
async def started(node: Node) -> AsyncIterator[Node]:
    await node.store.start()
    try:
        yield node
    finally:
        await node.store.close()


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[Node]:
    """A node that has the image."""
    async with started(Node(tmp_path / "source", "source")) as node:
        await node.store.load(_archive(APP))
        yield node


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[Node]:
    async with started(Node(tmp_path / "target", "target")) as node:
        yield node


async def _archive(made: TestImage) -> AsyncIterator[bytes]:
    yield made.archive(["app:1"])


async def _allow(_node_id: str, _image_id: str) -> None:
    return


class LyingNode:
    """A node whose answers the test chooses: `answer` gets the path and the first wanted byte, and returns what is sent."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.asked: list[tuple[str, int]] = []
        manifest = manifest_of(APP.id, node.store.repository.snapshot, node.store.repository.content)
        self.layer = manifest.layers[0].digest
        self._bodies = {"image": manifest.body, APP.id: APP.config}
        for descriptor in manifest.layers:
            self._bodies[descriptor.digest] = node.store.repository.content.blob(descriptor.digest).read_bytes()

    def body(self, path: str) -> bytes:
        return self._bodies[path.rpartition("/")[2]]

    def answer(self, path: str, start: int) -> bytes:
        body = self.body(path)
        status = f"206 Partial\r\nContent-Range: bytes {start}-{len(body) - 1}/{len(body)}" if start else "200 OK"
        return f"HTTP/1.1 {status}\r\nContent-Length: {len(body) - start}\r\n\r\n".encode() + body[start:]

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[ImagePeer]:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                start = int(head.partition("bytes=")[2].partition("-")[0] or 0)
                self.asked.append((head.split()[1], start))
                writer.write(self.answer(*self.asked[-1]))
                await writer.drain()
                writer.close()

        context = tls.server_context(self._node.identities.require(), self._node.folder)
        async with await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context) as listening:
            port = listening.sockets[0].getsockname()[1]
            yield ImagePeer(self._node.id, f"127.0.0.1:{port}")


@pytest.fixture
def lying(source: Node) -> LyingNode:
    return LyingNode(source)


async def _is_refused(target: Node, peer: ImagePeer, words: str) -> None:
    with pytest.raises(CoveyError) as caught:
        await target.fetch(peer)
    assert words in caught.value.message
    assert target.store.list() == ()


async def test_an_image_is_fetched_with_its_content(source: Node, target: Node) -> None:
    async with source.serving(_allow) as peer:
        await target.fetch(peer)
    bottom, top = target.store.layers("app:1")
    assert (bottom / "etc/big").read_bytes() == (source.store.layers("app:1")[0] / "etc/big").read_bytes()
    assert (top / "etc/small").read_bytes() == b"x"


async def test_what_the_leader_refuses_is_not_served(source: Node, target: Node) -> None:
    async def refuse(node_id: str, image_id: str) -> None:
        raise PermissionDeniedError(f"{node_id} does not need {image_id}")

    async with source.serving(refuse) as peer:
        await _is_refused(target, peer, f"target does not need {APP.id}")
        await _is_refused(target, ImagePeer("other", peer.addr), "node other at")


async def test_a_node_of_another_cluster_is_not_served(source: Node, tmp_path: Path) -> None:
    foreign = Node(tmp_path / "foreign", "target", create_root("c", wall_clock()))
    async with source.serving(_allow) as peer, started(foreign):
        await _is_refused(foreign, peer, "certificate verify failed")


async def test_bytes_that_do_not_match_are_refused(lying: LyingNode, target: Node) -> None:
    """The layer is not compressed, so that its digest is its diff id and it is hashed once."""
    body = bytearray(lying.body(lying.layer))
    body[1_000_000] ^= 1
    lying._bodies[lying.layer] = bytes(body)
    async with lying.serving() as peer:
        await _is_refused(target, peer, f"filesystem layer verification failed for digest {lying.layer}")


@pytest.mark.parametrize("difference", [-1, 1])
async def test_another_length_than_announced_is_refused(lying: LyingNode, target: Node, difference: int) -> None:
    lying._bodies[lying.layer] = (lying.body(lying.layer) + b"!")[: difference - 1 or None]
    async with lying.serving() as peer:
        await _is_refused(target, peer, "but its manifest announces")


async def test_a_broken_transfer_goes_on_where_it_broke(
    lying: LyingNode, target: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_download, "BACKOFF_SECONDS", 0.01)
    honest = lying.answer

    def break_once(path: str, start: int) -> bytes:
        answer = honest(path, start)
        return answer[:2_000_000] if lying.layer in path and not start else answer

    lying.answer = break_once  # type: ignore[method-assign]
    async with lying.serving() as peer:
        await target.fetch(peer)
    starts = [start for path, start in lying.asked if lying.layer in path]
    assert starts[0] == 0
    assert 1_900_000 < starts[1] < 2_000_000


async def test_a_fetch_that_is_cancelled_ends_at_once(lying: LyingNode, target: Node) -> None:
    """The other node sends half of a layer and then nothing more."""
    stalled = asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.decode().split()[1]
            is_layer = lying.layer in path
            writer.write(lying.answer(path, 0)[: 1_000_000 if is_layer else None])
            await writer.drain()
            if is_layer:
                stalled.set()

    context = tls.server_context(lying._node.identities.require(), lying._node.folder)
    listening = await asyncio.start_server(stall, "127.0.0.1", 0, ssl=context)
    peer = ImagePeer("source", f"127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    try:
        fetching = asyncio.create_task(target.fetch(peer))
        async with asyncio.timeout(DEADLINE_SECONDS):
            await stalled.wait()
            fetching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fetching
    finally:
        listening.close()
    assert target.store.list() == ()
    assert list((target.folder / "images/tmp").iterdir()) == []


async def test_a_range_beyond_the_end_and_other_requests_are_refused(source: Node, target: Node) -> None:
    def ask(request: bytes) -> bytes:
        with target.connect(peer) as connection:
            connection.sendall(request)
            return connection.recv(1 << 16)

    layer = LyingNode(source).layer
    base = f"GET /v2/{APP.id.removeprefix('sha256:')}"
    async with source.serving(_allow) as peer:
        for request, status in (
            (f"{base}/blobs/{layer} HTTP/1.1\r\nRange: bytes=99999999-\r\n\r\n", b"416"),
            (f"{base}/blobs/sha256:{'0' * 64} HTTP/1.1\r\n\r\n", b"404"),
            (f"{base}/blobs/../../images.db HTTP/1.1\r\n\r\n", b"404"),
            (f"{base.replace('GET', 'PUT')}/blobs/{layer} HTTP/1.1\r\n\r\n", b"404"),
        ):
            assert (await asyncio.to_thread(ask, request.encode())).split()[1] == status
        assert await asyncio.to_thread(ask, b"hello\r\n\r\n") == b"", "what is no HTTP is not answered"


async def test_callers_that_hold_connections_are_bounded(
    source: Node, target: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 4.0)  # more than all connections take
    async with source.serving(_allow) as peer, contextlib.AsyncExitStack() as idle:
        for _ in range(server.CONNECTIONS_PER_ADDRESS):
            idle.enter_context(await asyncio.to_thread(target.connect, peer))
        with pytest.raises(OSError, match=r"EOF|reset|violation"):
            await asyncio.to_thread(target.connect, peer)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:  # until the idle ones are closed
                with contextlib.suppress(CoveyError):
                    await target.fetch(peer)
                    break
    assert [found.id for found in target.store.list()] == [APP.id]


async def test_the_server_ends_while_it_sends(source: Node, target: Node) -> None:
    def ask() -> ssl.SSLSocket:
        connection = target.connect(peer)
        path = f"/v2/{APP.id.removeprefix('sha256:')}/blobs/{LyingNode(source).layer}"
        connection.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        connection.recv(1)
        return connection

    async with asyncio.timeout(DEADLINE_SECONDS):
        async with source.serving(_allow) as peer:
            waiting = await asyncio.to_thread(ask)
        waiting.close()
