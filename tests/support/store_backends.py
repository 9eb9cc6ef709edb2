"""Store on each consensus backend behind one interface: in memory, on Raft with a disk, on a real etcd."""

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
"""Backends whose state survives the process."""


class StoreBackend:
    """``store`` is a leading store; ``reopen`` closes it and opens the same state again, as another process does."""

    store: Store

    async def reopen(self) -> Store:
        raise NotImplementedError

    async def close(self) -> None:
        """Stop everything and remove the files."""


class MemoryBackend(StoreBackend):
    def __init__(self, clock: Clock) -> None:
        self.store = Store(MemoryConsensus, clock)


class RaftBackend(StoreBackend):
    """Raft group of one member, on a disk."""

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
        await eventually("the store to lead", lambda: self.store.consensus.leadership.is_leader)
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
    """One manager with its own prefix in etcd."""

    def __init__(self, etcd: EtcdCluster, clock: Clock) -> None:
        self._group = EtcdStoreGroup(etcd)
        self._clock = clock

    async def open(self) -> Store:
        first = not self._group.nodes
        if first:
            await self._group.create_cluster()
        node = EtcdStoreNode(self._group, "m1", "", self._clock)
        self._group.nodes.append(node)
        await eventually("the store to lead", lambda: node.is_leader)
        self.store = node.store
        if first:  # a new cluster on etcd has two objects
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
    """Backend with an empty store that leads."""
    made: Any = (
        MemoryBackend(clock) if name == "memory" else RaftBackend(clock) if name == "raft" else EtcdBackend(etcd, clock)
    )
    try:
        if name != "memory":
            await made.open()
        yield made
    finally:
        await made.close()
