"""Process with a store and a Raft member, reduced from a manager: real files, gRPC under mTLS, JSON commands on stdin.

Run by the Raft tests and by ``tests/bench/store.py``: ``python raft_member.py CONFIG.json``.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import grpc
from grpc import aio

from covey.errors import CoveyError
from covey.objects import Annotations, Config, ConfigSpec
from coveypb.v1 import raft_pb2_grpc
from manager import process
from manager.authorize import AuthorizationInterceptor
from manager.caller import peer_of
from manager.keys.key_ring import KeyRing
from manager.raft.disk import MemberIdentity, create_group, create_member, is_member
from manager.raft.driver import RaftTuning
from manager.raft.join_client import join, leave
from manager.raft.node import RaftNode
from manager.raft.service import RaftService
from manager.store import Member, StateMachine, Store, Tx
from manager.store import snapshot as store_snapshot
from manager.store.consensus import RemovedError
from manager.store.view import View
from tests.support.write_load import write_load

REMOVED = 3
_STALL_POLL_SECONDS = 0.01


def stall_while(path: Path) -> None:
    """Simulate a stalled disk: no flush returns while the file exists."""
    flush = os.fdatasync

    def held(fd: int) -> None:
        while path.exists():
            time.sleep(_STALL_POLL_SECONDS)
        flush(fd)

    os.fdatasync = held


class SlowDecoder:
    """A state machine whose snapshots take long to decode, like those of a large cluster."""

    def __init__(self, machine: StateMachine, seconds: float) -> None:
        self._machine = machine
        self._seconds = seconds

    def decode(self, index: int, data: bytes):
        if index > 1:
            time.sleep(self._seconds)
        return self._machine.decode(index, data)

    def __getattr__(self, name: str):
        return getattr(self._machine, name)


class MemberProcess:
    def __init__(self, config: dict) -> None:
        self.config = config
        self.folder = Path(config["folder"])
        self.ring = KeyRing.of(bytes.fromhex(config["data_key"]))
        self.pem = [Path(config[name]).read_bytes() for name in ("root", "key", "cert")]
        self.addr = f"127.0.0.1:{config['port']}"
        self.leaderships: list[tuple[int, bool, str]] = []
        stall_while(self.folder.with_name("stall"))

    def client(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(*self.pem)

    async def prepare(self) -> None:
        """Creates or joins the group, unless this is a restart."""
        if is_member(self.folder):
            return
        node_id, cluster_id = self.config["node_id"], self.config["cluster_id"]
        if not self.config["join"]:
            me = Member(raft_id=1, node_id=node_id, addr=self.addr)
            identity = MemberIdentity(cluster_id=cluster_id, raft_id=1, node_id=node_id, members=(me,))
            create_group(self.folder, self.ring, identity, store_snapshot.encode(View.empty(), (me,)))
            return
        joined = await join(self.config["join"], self.client, node_id=node_id, addr=self.addr)
        identity = MemberIdentity(
            cluster_id=cluster_id, raft_id=joined.raft_id, node_id=node_id, members=joined.members
        )
        create_member(self.folder, identity)

    async def run(self) -> int:
        await self.prepare()
        tuning = RaftTuning(**self.config.get("tuning", {}))
        slow = self.config.get("decode_seconds", 0)
        self.store = Store(
            lambda machine: RaftNode.open(
                self.folder, self.ring, SlowDecoder(machine, slow) if slow else machine, self.client, tuning
            ),
        )
        self.node: RaftNode = self.store.consensus
        server = aio.server(
            interceptors=[AuthorizationInterceptor(self.config["cluster_id"], lambda peer: peer.caller)]
        )
        service = RaftService(
            self.node, self.client, caller=lambda context: peer_of(context).node_id, is_manager=lambda _: True
        )
        raft_pb2_grpc.add_RaftServicer_to_server(service, server)
        root, key, cert = self.pem
        server.add_secure_port(
            self.addr,
            grpc.ssl_server_credentials([(key, cert)], root_certificates=root, require_client_auth=True),
        )
        await server.start()
        print(json.dumps({"ready": True}), flush=True)
        code = 0
        try:
            async with asyncio.TaskGroup() as tasks:
                commands = [tasks.create_task(self.serve()), tasks.create_task(self.record_leaderships())]
                await self.node.run()
                for command in commands:
                    command.cancel()
        except* RemovedError:
            code = REMOVED
        finally:
            await server.stop(0.2)
        return code

    async def record_leaderships(self) -> None:
        with self.node.subscribe() as changes:
            async for leadership in changes:
                role = self.node._driver.status().role.name
                self.leaderships.append((leadership.term, leadership.is_leader, role))

    async def serve(self) -> None:
        reader = asyncio.StreamReader(limit=1 << 24)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async with asyncio.TaskGroup() as tasks:
            while line := await reader.readline():
                tasks.create_task(self.answer(json.loads(line)))
        await self.node.close()

    async def answer(self, command: dict) -> None:
        try:
            result = await getattr(self, f"do_{command.pop('op')}")(**command.pop("args"))
            reply = {"result": result}
        except CoveyError as error:
            reply = {"error": type(error).__name__, "message": error.message}
        print(json.dumps({"id": command["id"], **reply}), flush=True)

    async def do_create(self, name: str, size: int = 16) -> int:
        spec = ConfigSpec(annotations=Annotations(name=name), data=os.urandom(size))
        await self.store.update(lambda tx: tx.create(Config(id=name, spec=spec)))
        return self.store.view().configs.get(name).meta.version

    async def do_increment(self, name: str) -> None:
        """Reads, changes and writes a counter; a lost update would show."""

        def apply(tx: Tx) -> None:
            config = tx.configs.get(name)
            data = str(int(config.spec.data) + 1).encode()
            tx.update(
                Config(id=name, meta=config.meta, spec=ConfigSpec(annotations=config.spec.annotations, data=data))
            )

        await self.store.update(apply)

    async def do_counter(self, name: str) -> None:
        spec = ConfigSpec(annotations=Annotations(name=name), data=b"0")
        await self.store.update(lambda tx: tx.create(Config(id=name, spec=spec)))

    async def do_data(self, name: str) -> str:
        return self.store.view().configs.get(name).spec.data.decode("latin-1")

    async def do_names(self, fresh: bool = False) -> list:
        if fresh:
            await self.node.read_index()
        return [config.spec.annotations.name for config in self.store.view().configs]

    async def do_digest(self) -> str:
        return store_snapshot.encode(self.store.view(), ()).hex()

    async def do_status(self) -> dict:
        leadership = self.node.leadership
        status = self.node._driver.status()
        return {
            "leader": leadership.is_leader,
            "leader_addr": leadership.leader_addr,
            "term": leadership.term,
            "applied": status.applied,
            "first_index": status.first_index,
            "last_index": status.last_index,
            "members": [
                {"node_id": m.node_id, "voter": m.voter, "reachable": m.reachable} for m in self.node.members()
            ],
        }

    async def do_leaderships(self) -> list:
        """Each change of leadership: the term, whether this manager publishes that it leads, and its role in the core."""
        return self.leaderships

    async def do_remove(self, node_ids: list[str]) -> None:
        await self.node.remove_members(node_ids)

    async def do_transfer(self, among: list[str]) -> None:
        await self.node.transfer_leadership(among)

    async def do_read(self, count: int, together: int) -> dict:
        """Linearizable reads, ``together`` at a time: reads per second, and the number of ReadIndex requests."""
        requests = 0
        next_request = self.node._driver.reads.next_request

        def counted_next_request():
            nonlocal requests
            context = next_request()
            requests += context is not None
            return context

        self.node._driver.reads.next_request = counted_next_request
        began = time.perf_counter()
        for _ in range(count // together):
            await asyncio.gather(*[self.node.read_index() for _ in range(together)])
        del self.node._driver.reads.next_request
        return {"per_second": count / (time.perf_counter() - began), "questions": requests}

    async def do_leave(self, node_id: str) -> None:
        await leave([self.addr], self.client, node_id=node_id, timeout_seconds=20)

    async def do_rejoin(self, manager: str) -> None:
        """Joins again as if its disk were new."""
        await join([manager], self.client, node_id=self.config["node_id"], addr=self.addr)

    async def do_close(self) -> None:
        await self.node.close()

    async def do_load(self, clients: int, writes: int, size: int, prefix: str) -> dict:
        return await write_load(self.store, clients=clients, writes=writes, size=size, prefix=prefix)


if __name__ == "__main__":
    if os.environ.get("RAFT_MEMBER_DEBUG"):
        import logging

        logging.basicConfig(level=logging.DEBUG)
    sys.exit(process.run(MemberProcess(json.loads(Path(sys.argv[1]).read_text())).run()))
