"""Managers on etcd that stop or fail while they register or create a cluster."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from covey.errors import ConflictError, DeadlineError
from coveypb.etcd import rpc_pb2
from manager.bootstrap.startup_keys import open_keys
from manager.config import ManagerConfig, ManagerMode
from manager.etcd import bootstrap, encryption, target
from manager.etcd.backend import _bootstrap_or_join
from manager.etcd.client import EtcdClient
from tests.support.etcd_server import EtcdCluster, etcd_cluster
from tests.support.etcd_stores import etcd_store_group, eventually, tcp_relays

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdCluster]:
    with etcd_cluster(1) as one:
        yield one


async def test_a_manager_that_stops_while_it_registers_leaves_no_alive_key(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd) as group:
        for number in range(40):
            node = await group.add_node(f"short-{number}", ready=False)
            async with asyncio.timeout(10):
                while not node.consensus._lease._renewing.locked():  # noqa: ASYNC110 - the first moment of the request
                    await asyncio.sleep(0)
            await asyncio.sleep(number / 4000)  # so that it stops in different calls
            await node.close()
            assert etcd.ctl("get", "--keys-only", group.keys.alive(node.node_id).decode()).strip() == ""


async def test_a_delayed_registration_removes_the_alive_key_only_briefly(etcd: EtcdCluster) -> None:
    """1. A first registration is delayed. 2. A second one succeeds. 3. The first arrives, and its lease expires, because nobody renews it."""
    async with etcd_store_group(etcd) as group:
        node = group.nodes[0]
        first = await node.client.grant(2)
        leadership, group_state = node.consensus._own_leadership, node.consensus._follower.group_state
        term = (await group.wait_leader()).consensus.leadership.term
        put = rpc_pb2.PutRequest(key=group.keys.alive("m1"), value=b"m1:2378", lease=first.ID)
        await node.client.txn(rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_put=put)]))
        await eventually("its lease to end", lambda: "m1" not in group_state.alive, 10)
        await eventually("the manager shown as running", lambda: "m1" in group_state.alive, 10)
        await asyncio.sleep(4)
        assert "m1" in group_state.alive
        assert leadership.leading is not None
        assert leadership.leading.term == term


def manager_config(folder: Path, store: str) -> ManagerConfig:
    return ManagerConfig(state_dir=str(folder), run_dir=str(folder / "run"), mode=ManagerMode.BOOTSTRAP, store=store)


async def test_a_bootstrap_without_an_answer_keeps_the_store_key(
    etcd: EtcdCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "BOOTSTRAP_SECONDS", 1.5)
    async with tcp_relays(etcd) as [relay]:
        config = manager_config(tmp_path, f"etcd://{relay.endpoint}/unheard")
        rotator = open_keys(config)
        client = EtcdClient(target.parse(config.store))
        try:
            await client.range(rpc_pb2.RangeRequest(key=b"/"))  # opens the connection
            relay.answers.clear()
            with pytest.raises(DeadlineError, match="The cluster may have been created there"):
                await _bootstrap_or_join(config, rotator, client)
            key = encryption.load_key(config.identity_dir, rotator.unseal)
            assert key is not None
            relay.answers.set()
            identity, found = await _bootstrap_or_join(config, rotator, client)
            assert found == key
            assert etcd.ctl("get", "--print-value-only", "/unheard/cluster").strip() == identity.peer.cluster_id
        finally:
            await client.close()


async def test_a_refused_bootstrap_keeps_no_store_key(etcd: EtcdCluster, tmp_path: Path) -> None:
    async with etcd_store_group(etcd) as group:
        config = manager_config(tmp_path, etcd.store(group.prefix))
        rotator = open_keys(config)
        client = EtcdClient(target.parse(config.store))
        try:
            with pytest.raises(ConflictError, match="already holds cluster"):
                await _bootstrap_or_join(config, rotator, client)
        finally:
            await client.close()
        assert encryption.load_key(config.identity_dir, rotator.unseal) is None
