"""Stores of several managers on a real etcd in one process, and a TCP relay that can cut, delay and drop traffic.

Everything ends with its ``with`` block. No part of etcd is faked.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

from covey.clock import Clock, wall_clock
from covey.objects import Annotations, Cluster, Config, ConfigSpec, Node, replace
from coveypb.etcd import rpc_pb2
from manager.etcd import bootstrap, target
from manager.etcd.client import EtcdClient
from manager.etcd.consensus import EtcdConsensus
from manager.etcd.encryption import ValueCipher, new_key
from manager.etcd.keyspace import Keyspace
from manager.store import Store, Tx
from tests.support.etcd_server import EtcdCluster

SECONDS = 20.0


async def eventually(what: str, condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    try:
        async with asyncio.timeout(seconds):
            while not (value := condition()):  # noqa: ASYNC110 - any condition
                await asyncio.sleep(0.01)
            return value
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what}") from None


class EtcdStoreNode:
    """One manager, reduced to its store."""

    def __init__(self, group: "EtcdStoreGroup", node_id: str, store: str, clock: Clock = wall_clock) -> None:
        self.node_id = node_id
        self.client = EtcdClient(group.etcd_target(store))
        cipher = ValueCipher(group.key, group.cluster_id)

        def connect(machine: Any) -> EtcdConsensus:
            return EtcdConsensus(
                self.client, cipher, machine, cluster_id=group.cluster_id, node_id=node_id, addr=f"{node_id}:2378"
            )

        self.store = Store(connect, clock)
        self.consensus: EtcdConsensus = self.store.consensus
        self.task = asyncio.create_task(self.consensus.run())

    @property
    def is_leader(self) -> bool:
        return self.consensus.leadership.is_leader

    @property
    def fresh(self) -> bool:
        return self.consensus._follower.fresh

    async def close(self) -> None:
        if not self.task.done():
            await self.consensus.close()
        await asyncio.gather(self.task, return_exceptions=True)

    async def crash(self) -> None:
        """Stop without releasing the lease, which expires."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def create(self, name: str, data: bytes = b"") -> None:
        item = Config(id=f"id-{name}", spec=ConfigSpec(annotations=Annotations(name=name), data=data))
        await self.store.update(lambda tx: tx.create(item))

    async def add(self, name: str, amount: int = 1) -> None:
        """Increment by read, change and write, so that a lost or repeated update shows."""

        def apply(tx: Tx) -> None:
            item = tx.configs.by_name(name)
            data = b"%d" % (int(item.spec.data) + amount)
            tx.update(replace(item, spec=replace(item.spec, data=data)))

        await self.store.update(apply)

    def value(self, name: str) -> bytes | None:
        item = self.store.view().configs.by_name(name)
        return None if item is None else item.spec.data

    def names(self) -> set[str]:
        return {item.spec.annotations.name for item in self.store.view().configs}


class EtcdStoreGroup:
    """Managers of one cluster with their own prefix in etcd."""

    def __init__(self, etcd: EtcdCluster) -> None:
        self.etcd = etcd
        self.prefix = f"/test/{secrets.token_hex(4)}"
        self.key = new_key()
        self.cluster_id = f"c-{secrets.token_hex(4)}"
        self.keys = Keyspace(self.prefix)
        self.nodes: list[EtcdStoreNode] = []

    def etcd_target(self, store: str) -> target.EtcdTarget:
        files = {}
        if self.etcd.tls:
            tls = self.etcd.tls
            files = {"ca_file": f"{tls}/ca.pem", "cert_file": f"{tls}/client.pem", "key_file": f"{tls}/client.key"}
        return target.parse(store or self.etcd.store(self.prefix), **files)

    async def create_cluster(self) -> None:
        client = EtcdClient(self.etcd_target(""))
        try:
            cipher = ValueCipher(self.key, self.cluster_id)
            await bootstrap.create_cluster(client, cipher, Cluster(id=self.cluster_id), Node(id="m1"), "m1:2378")
        finally:
            await client.close()

    async def add_node(self, node_id: str, *, store: str = "", ready: bool = True) -> EtcdStoreNode:
        """Add a manager that is a member of the cluster. ``store`` is another address of the same etcd."""
        client = EtcdClient(self.etcd_target(""))
        try:
            put = rpc_pb2.PutRequest(key=self.keys.member(node_id), value=f"{node_id}:2378".encode())
            await client.txn(rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_put=put)]))
        finally:
            await client.close()
        node = EtcdStoreNode(self, node_id, store)
        self.nodes.append(node)
        if ready:
            await eventually(f"{node_id} to have the state", lambda: node.fresh and node.consensus.leadership.leader_id)
            group_state = node.consensus._follower.group_state
            await eventually(f"{node_id} shown as running", lambda: node_id in group_state.alive)
        return node

    def leader(self, *, but: EtcdStoreNode | None = None) -> EtcdStoreNode | None:
        return next((node for node in self.nodes if node.is_leader and node is not but and not node.task.done()), None)

    async def wait_leader(self, *, but: EtcdStoreNode | None = None, seconds: float = SECONDS) -> EtcdStoreNode:
        return await eventually("a leader", lambda: self.leader(but=but), seconds)


@contextlib.asynccontextmanager
async def etcd_store_group(etcd: EtcdCluster, count: int = 1) -> AsyncIterator[EtcdStoreGroup]:
    one = EtcdStoreGroup(etcd)
    await one.create_cluster()
    try:
        for number in range(1, count + 1):
            await one.add_node(f"m{number}")
        yield one
    finally:
        for node in one.nodes:
            await node.close()


class TcpRelay:
    """TCP relay. Clear ``answers`` to delay answers, clear ``open`` to delay everything; ``cut`` closes open connections."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.endpoint = ""
        self.open = asyncio.Event()
        self.open.set()
        self.answers = asyncio.Event()
        self.answers.set()
        self.refuses = False

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.endpoint = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.open.set()
        self.answers.set()
        self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, far_writer}
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, far_writer, (self.open,)))
                both.create_task(self._pass(far_reader, writer, (self.open, self.answers)))
        except* OSError:
            pass
        finally:
            self._writers -= {writer, far_writer}
            writer.transport.abort()
            far_writer.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gates: tuple[asyncio.Event, ...]
    ) -> None:
        while data := await reader.read(1 << 16):
            for gate in gates:
                await gate.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


@contextlib.asynccontextmanager
async def tcp_relays(etcd: EtcdCluster) -> AsyncIterator[list[TcpRelay]]:
    """One relay to each member."""
    made = [TcpRelay("127.0.0.1", member.client_port) for member in etcd.members]
    for relay in made:
        await relay.start()
    try:
        yield made
    finally:
        for relay in made:
            await relay.close()
