"""Managers that run while their etcd is restored from a snapshot."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from covey.errors import CoveyError, LaggedError
from coveypb.v1 import control_pb2
from manager.keys import LockedError, data_keys
from tests.support.etcd_server import EtcdCluster, etcd_cluster
from tests.support.etcd_stores import EtcdStoreNode, etcd_store_group, eventually, tcp_relays
from tests.support.manager_processes import manager_cluster

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def etcd() -> Iterator[EtcdCluster]:
    with etcd_cluster(1) as one:
        yield one


async def create_or_exists(node: EtcdStoreNode, name: str) -> bool:
    try:
        await node.create(name)
    except CoveyError:
        return name in node.names()
    return True


async def create_with_retries(name: str, nodes: list[EtcdStoreNode]) -> None:
    """Create a config through the leader; retry until it exists."""
    async with asyncio.timeout(30):
        while not [node for node in nodes if node.is_leader and await create_or_exists(node, name)]:  # noqa: ASYNC110 - any of them
            await asyncio.sleep(0.05)


async def test_running_managers_continue_from_the_restored_state(etcd: EtcdCluster, tmp_path: Path) -> None:
    async with etcd_store_group(etcd, 2) as group:
        leader = await group.wait_leader()
        await leader.create("kept")
        etcd.ctl("snapshot", "save", str(tmp_path / "snapshot"))
        for number in range(40):
            await leader.create(f"gone-{number}")
        other = next(node for node in group.nodes if node is not leader)
        await other.consensus.read_index()
        before = other.consensus._follower.applied
        with other.store.watch() as (_, commits):
            etcd.restore(tmp_path / "snapshot")
            with pytest.raises(LaggedError):
                await asyncio.wait_for(anext(commits), 20)
        await create_with_retries("new", group.nodes)
        for node in group.nodes:
            await node.consensus.read_index()
            assert node.names() == {"kept", "new"}
            assert node.consensus._follower.applied < before
        await eventually(
            "both shown as running", lambda: all(one.reachable for one in leader.consensus.members()) and leader.fresh
        )


async def test_a_manager_that_returns_after_a_restored_etcd_passed_its_revision_reloads(
    etcd: EtcdCluster, tmp_path: Path
) -> None:
    """The revision at which it continues exists in the restored etcd, too, with another history."""
    async with tcp_relays(etcd) as [relay], etcd_store_group(etcd) as group:
        leader = await group.wait_leader()
        node = await group.add_node("m2", store=f"etcd://{relay.endpoint}{group.prefix}")
        etcd.ctl("snapshot", "save", str(tmp_path / "snapshot"))
        await leader.create("gone")
        await eventually("it to have the object", lambda: "gone" in node.names())
        relay.refuses = True
        relay.cut()
        etcd.restore(tmp_path / "snapshot")
        number = 0
        while leader.consensus._follower.applied <= node.consensus._follower.applied + 5 or not leader.fresh:
            await create_with_retries(f"new-{number}", [leader])
            number += 1
        assert "gone" in node.names()
        relay.refuses = False
        await eventually("it to have the restored state", lambda: node.names() == leader.names() and node.fresh)
        assert "gone" not in leader.names()


async def test_key_files_follow_the_unlock_key_of_the_restored_cluster(etcd: EtcdCluster, tmp_path: Path) -> None:
    store = etcd.store("/locked")
    async with manager_cluster() as cluster:
        host = cluster.manager()
        await host.start("bootstrap", store=store, cluster_spec={"auto_lock": True})
        path = host.folder / "state" / "manager" / "keys"

        async def unlock_key() -> str:
            answer = await host.call("GetUnlockKey", control_pb2.GetUnlockKeyRequest())
            return str(answer.unlock_key)

        def opens(key: str) -> bool:
            try:
                return data_keys.read(path, (key,)) is not None
            except LockedError:
                return False

        first = await unlock_key()
        etcd.ctl("snapshot", "save", str(tmp_path / "snapshot"))
        for _ in range(3):
            got = await host.call("GetCluster", control_pb2.GetClusterRequest())
            request = control_pb2.UpdateClusterRequest(version=got.meta.version, rotate_unlock_key=True)
            await host.call("UpdateCluster", request)
        second = await unlock_key()
        await eventually("the key file under the later key", lambda: opens(second))
        etcd.restore(tmp_path / "snapshot")
        await eventually("the key file under the restored cluster's key", lambda: opens(first))
