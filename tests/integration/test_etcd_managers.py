"""Manager processes on a real etcd: bootstrap, join, a paused leader, lost manager state."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest

from agent.identity import join_cluster
from covey.states import NodeRole
from coveypb.v1 import control_pb2, objects_pb2
from manager.keys.node_key import PLAIN, sealed_with
from tests.support.etcd_server import EtcdCluster, etcd_cluster
from tests.support.manager_processes import ManagerCluster, ManagerHost, eventually, manager_cluster

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdCluster]:
    with etcd_cluster(1) as one:
        yield one


class EtcdManagers:
    """Manager processes with one prefix in etcd."""

    def __init__(self, group: ManagerCluster, store: str) -> None:
        self.group = group
        self.store = store

    async def bootstrap(self) -> ManagerHost:
        host = self.group.manager()
        await host.start("bootstrap", store=self.store)
        return host

    async def add(self, **more: object) -> ManagerHost:
        first = next(host for host in self.group.managers if host.process is not None)
        host = self.group.manager()
        await join_cluster(host.identities, (await first.tokens())[NodeRole.MANAGER], [first.join_addr])
        await host.start("join", [first.mtls_addr], **{"store": self.store, **more})
        return host


@contextlib.asynccontextmanager
async def cluster(
    etcd: EtcdCluster, name: str, count: int = 1
) -> AsyncIterator[tuple[EtcdManagers, list[ManagerHost]]]:
    async with manager_cluster() as group:
        one = EtcdManagers(group, etcd.store(f"/{name}"))
        await one.bootstrap()
        for _ in range(count - 1):
            await one.add()
        await eventually("all managers to be reachable", lambda: group._all_reachable(group.managers[0], count))
        yield one, group.managers


def secret(name: str, data: bytes = b"hunter2") -> control_pb2.CreateSecretRequest:
    spec = objects_pb2.SecretSpec(annotations=objects_pb2.Annotations(name=name), data=data)
    return control_pb2.CreateSecretRequest(spec=spec)


async def names(host: ManagerHost) -> set[str]:
    listed = await host.call("ListSecrets", control_pb2.ListRequest())
    return {one.spec.annotations.name for one in listed.secrets}


async def create_with_retry(host: ManagerHost, name: str) -> bool:
    """Create a secret; after an error, check whether it exists."""
    try:
        await host.call("CreateSecret", secret(name), timeout=10)
    except grpc.aio.AioRpcError:
        return name in await names(host)
    return True


async def test_a_cluster_moves_from_etcd_to_its_managers_disks_by_a_backup(etcd: EtcdCluster) -> None:
    async with cluster(etcd, "moves") as (one, (host,)):
        await host.call("CreateSecret", secret("pw"))
        before = await host.call("GetCluster", control_pb2.GetClusterRequest())
        path, key = await host.backup()
        await host.kill()
        restored = one.group.manager()
        restored.key_cache.backup_key = key
        await restored.start("restore", restore_path=str(path))
        after = await restored.call("GetCluster", control_pb2.GetClusterRequest())
        assert (after.id, after.root_ca.cert) == (before.id, before.root_ca.cert)
        assert await names(restored) == {"pw"}
        assert await create_with_retry(restored, "later")


async def test_a_paused_leader_is_replaced_and_writes_nothing_when_it_resumes(etcd: EtcdCluster) -> None:
    """1. Clients write through the leader. 2. It is paused for longer than its lease. 3. Another leads and writes. 4. The old leader resumes
    with the clients' calls. 5. It follows, and every acknowledged write exists.
    """
    async with cluster(etcd, "still", 3) as (one, hosts):
        old = await one.group.leader()
        others = [host for host in hosts if host is not old]
        acknowledged_by_name: dict[str, bool] = {}

        async def write(name: str) -> None:
            try:
                await old.call("CreateSecret", secret(name), timeout=30)
                acknowledged_by_name[name] = True
            except grpc.aio.AioRpcError:
                acknowledged_by_name[name] = False

        assert old.process is not None
        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(write(f"early-{number}"))
            await asyncio.sleep(0.02)
            os.kill(old.process.pid, signal.SIGSTOP)
            try:
                for number in range(20):
                    tasks.create_task(write(f"late-{number}"))
                await eventually("another leader", lambda: _leads(others))
                await eventually("a write through it", lambda: create_with_retry(others[0], "after"))
            finally:
                os.kill(old.process.pid, signal.SIGCONT)
        assert (await old.status()).is_leader is False
        there = await names(others[0])
        assert await names(old) == there
        for name, acknowledged in acknowledged_by_name.items():
            assert not acknowledged or name in there, f"{name} was acknowledged and is lost"
        assert "after" in there


async def _leads(hosts: list[ManagerHost]) -> bool:
    return any([(await host.status()).is_leader for host in hosts])


async def test_managers_restart_without_their_local_state(etcd: EtcdCluster) -> None:
    """All managers are killed and their state folders removed. After a restart the cluster and its secrets are there."""
    async with cluster(etcd, "wiped", 2) as (_, hosts):
        await hosts[0].call("CreateSecret", secret("kept"))
        assert not (hosts[0].folder / "state" / "manager" / "raft").exists()
        for host in hosts:
            await host.kill()
        for host in hosts:
            shutil.rmtree(host.folder / "state" / "manager")
            await host.start("restart", store=etcd.store("/wiped"))
        await eventually("a leader", lambda: _leads(hosts))
        for host in hosts:
            assert await names(host) == {"kept"}
        assert await create_with_retry(hosts[1], "new")


async def test_a_cluster_is_not_created_under_a_prefix_in_use(etcd: EtcdCluster) -> None:
    async with cluster(etcd, "taken"), manager_cluster() as group:
        second = group.manager()
        with pytest.raises(
            AssertionError, match=r"already holds cluster \w+: join it with a token, or choose another prefix"
        ):
            await second.start("bootstrap", store=etcd.store("/taken"))


async def test_a_manager_that_joins_without_the_store_or_with_another_one_is_refused(etcd: EtcdCluster) -> None:
    async with cluster(etcd, "here") as (one, _):
        with pytest.raises(
            AssertionError, match="this cluster keeps its state in etcd: start coveyd with --store etcd://"
        ):
            await one.add(store="")
        with pytest.raises(AssertionError, match="holds no cluster, and this node belongs to cluster"):
            await one.add(store=etcd.store("/elsewhere"))


async def test_a_manager_that_joins_a_raft_cluster_with_a_store_is_refused(etcd: EtcdCluster) -> None:
    async with manager_cluster() as group:
        one = EtcdManagers(group, "")
        await one.bootstrap()
        with pytest.raises(AssertionError, match="keeps its state in its managers"):
            await one.add(store=etcd.store("/raft"))


async def test_a_demoted_manager_leaves_the_group_and_exits_as_removed(etcd: EtcdCluster) -> None:
    async with cluster(etcd, "demoted", 2) as (one, hosts):
        leader = await one.group.leader()
        other = next(host for host in hosts if host is not leader)
        node_id = leader.identities.require().node_id
        node = await other.call("GetNode", control_pb2.GetRequest(ref=node_id))
        node.spec.desired_role = objects_pb2.NODE_ROLE_WORKER
        request = control_pb2.UpdateNodeRequest(ref=node_id, version=node.meta.version, spec=node.spec)
        await other.call("UpdateNode", request)
        assert leader.process is not None
        async with asyncio.timeout(20):
            assert await leader.process.wait() == 3
        await eventually("the other to lead", lambda: _leads([other]))

        async def is_worker() -> bool:
            found = await other.call("GetNode", control_pb2.GetRequest(ref=node_id))
            return bool(found.role == objects_pb2.NODE_ROLE_WORKER and not found.HasField("manager_status"))

        await eventually("it to be a worker", is_worker)


async def test_secrets_and_the_ca_key_are_encrypted_in_etcd(etcd: EtcdCluster) -> None:
    async with cluster(etcd, "sealed") as (_, hosts):
        await hosts[0].call("CreateSecret", secret("pw", b"correct horse battery staple"))
        everything = etcd.ctl("get", "--prefix", "/sealed")
        assert "correct horse" not in everything
        assert "PRIVATE KEY" not in everything
        assert "SWMTKN" not in everything
        key = hosts[0].folder / "state" / "identity" / "store.key"
        assert key.stat().st_mode & 0o777 == 0o600


async def test_the_store_key_is_encrypted_with_the_unlock_key_and_follows_its_rotation(etcd: EtcdCluster) -> None:
    """The store key decrypts the whole state in etcd, so autolock protects it like a log on disk."""
    store = etcd.store("/locked")
    async with manager_cluster() as group:
        host = group.manager()
        await host.start("bootstrap", store=store, cluster_spec={"auto_lock": True})
        await host.call("CreateSecret", secret("kept"))
        path = host.folder / "state" / "identity" / "store.key"
        seen = set()
        for _ in range(3):
            await eventually("the store key encrypted again", lambda: path.read_bytes() not in seen)
            assert sealed_with(path.read_bytes()) != PLAIN
            seen.add(path.read_bytes())
            await host.kill()
            await host.start("restart", store=store)
            assert await names(host) == {"kept"}
            got = await host.call("GetCluster", control_pb2.GetClusterRequest())
            request = control_pb2.UpdateClusterRequest(version=got.meta.version, rotate_unlock_key=True)
            await host.call("UpdateCluster", request)
        await host.kill()
        host.key_cache.clear()
        with pytest.raises(AssertionError):
            await host.start("restart", store=store)
