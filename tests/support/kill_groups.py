"""Groups for ``tests.chaos.kills``: Raft members with a store, and managers on Raft or etcd. Real processes, disks and mTLS."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import grpc

from covey.grpc_errors import LEADER_METADATA
from coveypb.v1 import control_pb2, control_pb2_grpc, objects_pb2
from tests.chaos.kills import WriteOutcome
from tests.support import manager_processes, raft_processes
from tests.support.etcd_server import EtcdCluster, EtcdProcess, etcd_cluster
from tests.support.raft_processes import CommandError

WRITE_SECONDS = 8.0
NOTHING_DONE = {"NotLeaderError", "StaleVersionError", "UnavailableError"}
COUNTERS = [f"counter-{number}" for number in range(8)]


class RaftMemberGroup:
    """Three ``raft_member`` processes: a manager's store, log and network only, so that they start quickly."""

    def __init__(self, group: raft_processes.RaftGroup) -> None:
        self._group = group
        self.members = list(group.members)
        self._up = set(self.members)

    async def kill(self, member: str) -> None:
        self._up.discard(member)
        await self._group.members[member].kill()

    async def start(self, member: str) -> None:
        await self._group.members[member].start()
        self._up.add(member)

    async def write(self, member: str, key: str, hops: int = 1) -> WriteOutcome:
        """Write through this member. If it does not lead, retry through the leader it names."""
        if member not in self._up:
            return WriteOutcome.NOTHING
        op = "increment" if key in COUNTERS else "create"
        try:
            await self._group.members[member](op, name=key, timeout_seconds=WRITE_SECONDS)
        except CommandError as error:
            leader = self._member_named_in(error.message)
            if error.kind == "NotLeaderError" and leader not in {member, None}:
                return await self.write(str(leader), key, hops - 1) if hops else WriteOutcome.NOTHING
            if error.kind == "Gone":
                return WriteOutcome.UNKNOWN if "has ended" in error.message else WriteOutcome.NOTHING
            return WriteOutcome.NOTHING if error.kind in NOTHING_DONE else WriteOutcome.UNKNOWN
        except (TimeoutError, ConnectionError):
            return WriteOutcome.UNKNOWN
        return WriteOutcome.DONE

    def _member_named_in(self, words: str) -> str | None:
        """Member whose address is in the error message."""
        return next((name for name, process in self._group.members.items() if process.addr in words), None)

    async def content(self, member: str) -> Mapping[str, int]:
        process = self._group.members[member]
        try:
            names = Counter(await process("names", fresh=True))
            for counter in COUNTERS:
                if counter in names:
                    names[counter] = int(await process("data", name=counter))
        except (CommandError, TimeoutError) as error:
            raise ConnectionError(str(error)) from error
        return names


@contextlib.asynccontextmanager
async def raft_member_group(folder: Path) -> AsyncIterator[RaftMemberGroup]:
    """Three members with frequent snapshots, so that restarts load them."""
    async with raft_processes.raft_group(folder, snapshot_interval=400, log_entries_for_slow_followers=50) as group:
        await group.add_three()
        for counter in COUNTERS:
            await (await group.leader())("counter", name=counter)
        yield RaftMemberGroup(group)


class ManagerGroup:
    """Three ``manager.main`` processes; writes go through any of them."""

    def __init__(self, cluster: manager_processes.ManagerCluster, **settings: object) -> None:
        self._settings = settings
        self._hosts = {host.addr: host for host in cluster.managers}
        self._channels = {
            host.addr: grpc.aio.insecure_channel(f"unix:{host.folder}/run/manager.sock") for host in cluster.managers
        }
        self.members = list(self._hosts)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()

    async def kill(self, member: str) -> None:
        await self._hosts[member].kill()

    async def start(self, member: str) -> None:
        await self._hosts[member].start("restart", **self._settings)

    async def write(self, member: str, key: str) -> WriteOutcome:
        if self._hosts[member].process is None:
            return WriteOutcome.NOTHING
        stub = control_pb2_grpc.ControlStub(self._channels[member])
        try:
            await (self._increment(stub, key) if key in COUNTERS else self._create(stub, key))
        except grpc.aio.AioRpcError as error:
            not_leader = any(name == LEADER_METADATA for name, _ in error.trailing_metadata() or ())
            refused = "failed to connect" in (error.details() or "") or error.code() in {
                grpc.StatusCode.ABORTED,
                grpc.StatusCode.NOT_FOUND,
            }
            return WriteOutcome.NOTHING if not_leader or refused else WriteOutcome.UNKNOWN
        return WriteOutcome.DONE

    async def _create(self, stub: control_pb2_grpc.ControlStub, key: str) -> None:
        spec = objects_pb2.ConfigSpec(annotations=objects_pb2.Annotations(name=key), data=b"0")
        await stub.CreateConfig(control_pb2.CreateConfigRequest(spec=spec), timeout=WRITE_SECONDS)

    async def _increment(self, stub: control_pb2_grpc.ControlStub, key: str) -> None:
        """Read, increment the label, and write on the condition that the version is unchanged."""
        config = await stub.GetConfig(control_pb2.GetRequest(ref=key), timeout=WRITE_SECONDS)
        labels = config.spec.annotations.labels
        labels["n"] = str(int(labels.get("n", "0")) + 1)
        request = control_pb2.UpdateConfigRequest(ref=key, version=config.meta.version, spec=config.spec)
        await stub.UpdateConfig(request, timeout=WRITE_SECONDS)

    async def content(self, member: str) -> Mapping[str, int]:
        stub = control_pb2_grpc.ControlStub(self._channels[member])
        try:
            configs = (await stub.ListConfigs(control_pb2.ListRequest(), timeout=WRITE_SECONDS)).configs
        except grpc.aio.AioRpcError as error:
            raise ConnectionError(error.details()) from error
        names = Counter(config.spec.annotations.name for config in configs)
        for config in configs:
            if config.spec.annotations.name in COUNTERS:
                names[config.spec.annotations.name] = int(config.spec.annotations.labels.get("n", "0"))
        return names


class EtcdManagerGroup(ManagerGroup):
    """Managers on three etcd members. With every third manager kill, an etcd member is killed until the next one is."""

    def __init__(self, cluster: manager_processes.ManagerCluster, etcd: EtcdCluster, store: str, seed: int) -> None:
        super().__init__(cluster, store=store)
        self._etcd = etcd
        self._rng = random.Random(seed)
        self._dead: EtcdProcess | None = None
        self._kills = 0

    async def kill(self, member: str) -> None:
        await super().kill(member)
        self._kills += 1
        if self._kills % 3 == 0:
            victim = self._rng.choice([one for one in self._etcd.members if one is not self._dead])
            if self._dead is not None:
                await asyncio.to_thread(self._etcd.start, self._dead)  # two dead etcd members would stop all writes
            await asyncio.to_thread(self._etcd.kill, victim)
            self._dead = victim


@contextlib.asynccontextmanager
async def manager_group() -> AsyncIterator[ManagerGroup]:
    async with manager_processes.manager_cluster() as cluster:
        await cluster.bootstrap(3)
        async with _writable(ManagerGroup(cluster)) as group:
            yield group


@contextlib.asynccontextmanager
async def etcd_manager_group(seed: int) -> AsyncIterator[ManagerGroup]:
    with etcd_cluster(3) as etcd:
        store = etcd.store("/kills")
        async with manager_processes.manager_cluster() as cluster:
            await cluster.bootstrap(3, store=store)
            async with _writable(EtcdManagerGroup(cluster, etcd, store, seed)) as group:
                yield group


@contextlib.asynccontextmanager
async def _writable(group: ManagerGroup) -> AsyncIterator[ManagerGroup]:
    """Create the counters that the writers increment."""
    stub = control_pb2_grpc.ControlStub(group._channels[group.members[0]])
    for counter in COUNTERS:
        await group._create(stub, counter)
    try:
        yield group
    finally:
        await group.close()
        await asyncio.sleep(0)
