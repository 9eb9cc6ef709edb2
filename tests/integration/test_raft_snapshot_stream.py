"""Snapshot transfer over a real connection that stops forwarding, or to a peer that never answers: aborted and repeated."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from covey.states import NodeRole
from coveypb.v1 import raft_pb2, raft_pb2_grpc
from manager.ca import certificates
from manager.keys.key_ring import KeyRing
from manager.raft.core import ConfState, Message, MessageKind, Snapshot, SnapshotMeta
from manager.raft.peer import PeerLink
from manager.raft.snapshot_stream import SnapshotTimeouts
from manager.raft.snapshots import SnapshotFolder
from manager.store import Member
from tests.support.raft_processes import CLUSTER

pytestmark = pytest.mark.timeout(60)
SIZE = 24 << 20
META = SnapshotMeta(9, 2, ConfState((1, 2)))
SNAPSHOT = Message(MessageKind.SNAPSHOT, 2, 1, 2, snapshot=Snapshot(META))
SHORT_TIMEOUTS = SnapshotTimeouts(chunk_seconds=1, response_seconds=1, response_seconds_per_mib=0.1)


class Peer(raft_pb2_grpc.RaftServicer):
    """Receives messages and snapshots, and answers snapshots when ``answers`` is set."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def Exchange(self, request_iterator: AsyncIterator[Any], _context: Any) -> Any:  # noqa: N802 - gRPC's name
        async for _ in request_iterator:
            pass
        return raft_pb2.RaftExchangeResponse()

    async def SendSnapshot(self, request_iterator: AsyncIterator[Any], _context: Any) -> Any:  # noqa: N802 - gRPC's name
        self.received.append(sum([len(chunk.data) async for chunk in request_iterator]))
        await self.answers.wait()
        return raft_pb2.RaftExchangeResponse()


class StallingProxy:
    """Proxy that forwards connections. After ``stall_after`` bytes the existing ones drop all data without being closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: set[asyncio.Event] = set()
        self.passed = 0
        self.stall_after: int | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        stalled = asyncio.Event()
        self._open.add(stalled)
        try:
            await asyncio.gather(self._pipe(reader, back, stalled), self._pipe(there, writer, stalled))
        finally:
            back.close()
            writer.close()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stalled: asyncio.Event) -> None:
        while data := await reader.read(1 << 16):
            self.passed += len(data)
            if self.stall_after is not None and self.passed > self.stall_after:
                self.stall_after = None
                for one in self._open:
                    one.set()
            if not stalled.is_set():
                writer.write(data)
                await writer.drain()


class Listener:
    def __init__(self) -> None:
        self.snapshots: asyncio.Queue[bool] = asyncio.Queue()

    def report_unreachable(self, peer: int) -> None: ...

    def report_snapshot(self, peer: int, *, ok: bool) -> None:
        self.snapshots.put_nowait(ok)

    def report_removed(self) -> None: ...


class LinkUnderTest:
    """A peer link, its proxy, and the peer."""

    def __init__(self, link: PeerLink, stalling_proxy: StallingProxy, peer: Peer, listener: Listener) -> None:
        self._link, self.proxy, self.peer, self._listener = link, stalling_proxy, peer, listener

    async def send(self) -> bool:
        """Whether the link reports that the snapshot was delivered."""
        self._link.send(SNAPSHOT)
        async with asyncio.timeout(20):
            return await self._listener.snapshots.get()


@asynccontextmanager
async def link_to_peer(folder: Path) -> AsyncIterator[LinkUnderTest]:
    root = certificates.create_root(CLUSTER, time.time_ns())
    key, request = certificates.new_csr()
    cert = certificates.issue_certificate(
        root, request, node_id="b", role=NodeRole.MANAGER, cluster_id=CLUSTER, now_ns=time.time_ns(), lifetime_ns=10**14
    )
    snapshots = SnapshotFolder(folder, KeyRing.of(bytes(32)))
    snapshots.save(Snapshot(META, os.urandom(SIZE)))

    async def opened(index: int) -> Any:
        return snapshots.reader(index)

    peer, listener = Peer(), Listener()
    server = aio.server()
    raft_pb2_grpc.add_RaftServicer_to_server(peer, server)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, cert)]))
    await server.start()
    stalling_proxy = StallingProxy(port)
    proxy = await asyncio.start_server(stalling_proxy.serve, "127.0.0.1", 0)
    addr = f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    link = PeerLink(
        Member(raft_id=2, node_id="b", addr=addr),
        CLUSTER,
        lambda: grpc.ssl_channel_credentials(root.cert),
        listener,
        opened,
        timeouts=SHORT_TIMEOUTS,
    )
    running = asyncio.create_task(link.run())
    try:
        yield LinkUnderTest(link, stalling_proxy, peer, listener)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        proxy.close()
        await server.stop(None)


async def test_a_snapshot_over_a_dead_connection_is_aborted_and_sent_over_a_new_one(tmp_path: Path) -> None:
    """1. After a quarter of a snapshot the connection stops forwarding without being closed, as with an unplugged cable. 2. The link aborts
    the transfer and reports it. 3. The next transfer uses a new connection.
    """
    async with link_to_peer(tmp_path) as link:
        link.proxy.stall_after = SIZE // 4
        assert not await link.send()
        assert await link.send()
        assert link.peer.received[-1] == SIZE


async def test_a_snapshot_that_is_never_answered_is_aborted(tmp_path: Path) -> None:
    async with link_to_peer(tmp_path) as link:
        link.peer.answers.clear()
        assert not await link.send()
        link.peer.answers.set()
        assert await link.send()
