"""The store above each of its engines: in memory, on Raft with a disk, on a real etcd. One face for the tests that all must pass."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from covey.clock import Clock
from covey.objects import Cluster, Node
from manager.keys.key_ring import KeyRing
from manager.raft.disk import MemberIdentity, create_group
from manager.raft.node import RaftNode
from manager.store import Member, MemoryConsensus, Store
from manager.store import snapshot as store_snapshot
from manager.store.view import View
from tests.support.etcd_server import EtcdCluster
from tests.support.etcd_stores import EtcdStoreGroup, EtcdStoreNode, eventually

ENGINES = ("memory", "raft", "etcd")
DURABLE_ENGINES = ("raft", "etcd")
"""Those whose state outlives the process."""


class StoreBackend:
    """``store`` leads when it is given out; ``again`` is another process on the same state, after the first has ended."""

    store: Store

    async def reopen(self) -> Store:
        raise NotImplementedError

    async def close(self) -> None:
        """Ends what runs and removes what lies on disks."""


class MemoryBackend(StoreBackend):
    def __init__(self, clock: Clock) -> None:
        self.store = Store(MemoryConsensus, clock)


class RaftBackend(StoreBackend):
    """A group of one, on a disk."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._folder = Path(tempfile.mkdtemp(prefix="covey-engine-"))
        self._ring = KeyRing.of(bytes(range(32)))
        self._task: asyncio.Task[None] | None = None
        me = Member(raft_id=1, node_id="m1", addr="127.0.0.1:1")
        identity = MemberIdentity(cluster_id="c", raft_id=1, node_id="m1", members=(me,))
        create_group(self._folder / "raft", self._ring, identity, store_snapshot.encode(View.empty(), (me,)))

    async def open(self) -> Store:
        self.store = Store(
            lambda machine: RaftNode.open(self._folder / "raft", self._ring, machine, grpc.ssl_channel_credentials),
            self._clock,
        )
        self._task = asyncio.create_task(self.store.consensus.run())
        await eventually("it leads", lambda: self.store.consensus.leadership.is_leader)
        return self.store

    async def reopen(self) -> Store:
        await self._end()
        return await self.open()

    async def close(self) -> None:
        await self._end()
        shutil.rmtree(self._folder)

    async def _end(self) -> None:
        assert self._task is not None
        await self.store.consensus.close()
        await self._task


class EtcdBackend(StoreBackend):
    """A group of one, under a prefix of its own."""

    def __init__(self, etcd: EtcdCluster, clock: Clock) -> None:
        self._group = EtcdStoreGroup(etcd)
        self._clock = clock

    async def open(self) -> Store:
        first = not self._group.nodes
        if first:
            await self._group.create_cluster()
        seat = EtcdStoreNode(self._group, "m1", "", self._clock)
        self._group.nodes.append(seat)
        await eventually("it leads", lambda: seat.is_leader)
        self.store = seat.store
        if first:  # a cluster on etcd begins with two objects
            for kind, object_id in ((Cluster, self._group.cluster_id), (Node, "m1")):
                await self.store.update(lambda tx, kind=kind, object_id=object_id: tx.remove(kind, object_id))
        return self.store

    async def reopen(self) -> Store:
        await self._group.nodes[-1].close()
        return await self.open()

    async def close(self) -> None:
        await self._group.nodes[-1].close()


@contextlib.asynccontextmanager
async def store_backend(name: str, etcd: EtcdCluster, clock: Clock) -> AsyncIterator[StoreBackend]:
    """An engine with an empty store that leads."""
    made: Any = (
        MemoryBackend(clock) if name == "memory" else RaftBackend(clock) if name == "raft" else EtcdBackend(etcd, clock)
    )
    try:
        if name != "memory":
            await made.open()
        yield made
    finally:
        await made.close()
