"""Managers on etcd that stop or give up while they register or create a cluster."""

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
    async with etcd_store_group(etcd) as world:
        for number in range(40):
            seat = await world.add_node(f"short-{number}", ready=False)
            async with asyncio.timeout(10):
                while not seat.consensus._lease._renewing.locked():  # noqa: ASYNC110 - at the first moment, not at one of some
                    await asyncio.sleep(0)
            await asyncio.sleep(number / 4000)  # at one call of it or the other
            await seat.close()
            assert etcd.ctl("get", "--keys-only", world.keys.alive(seat.node_id).decode()).strip() == ""


async def test_a_late_registration_does_not_remove_the_alive_key_for_long(etcd: EtcdCluster) -> None:
    """1. A first registration is lost on the way. 2. The second stands. 3. The first arrives, and its lease, renewed by nobody, ends."""
    async with etcd_store_group(etcd) as world:
        seat = world.nodes[0]
        first = await seat.client.grant(2)
        leadership, group_state = seat.consensus._own_leadership, seat.consensus._follower.group_state
        term = (await world.wait_leader()).consensus.leadership.term
        put = rpc_pb2.PutRequest(key=world.keys.alive("m1"), value=b"m1:2378", lease=first.ID)
        await seat.client.txn(rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_put=put)]))
        await eventually("its lease has ended", lambda: "m1" not in group_state.alive, 10)
        await eventually("it is said to run", lambda: "m1" in group_state.alive, 3)
        await asyncio.sleep(4)
        assert "m1" in group_state.alive
        assert leadership.leading is not None
        assert leadership.leading.term == term


def manager_config(folder: Path, store: str) -> ManagerConfig:
    return ManagerConfig(state_dir=str(folder), run_dir=str(folder / "run"), mode=ManagerMode.BOOTSTRAP, store=store)


async def test_a_founder_without_an_answer_keeps_the_store_key(
    etcd: EtcdCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "BOOTSTRAP_SECONDS", 1.5)
    async with tcp_relays(etcd) as [relay]:
        config = manager_config(tmp_path, f"etcd://{relay.endpoint}/unheard")
        rotator = open_keys(config)
        client = EtcdClient(target.parse(config.store))
        try:
            await client.range(rpc_pb2.RangeRequest(key=b"/"))  # the connection is there
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


async def test_a_founder_that_is_refused_keeps_no_key(etcd: EtcdCluster, tmp_path: Path) -> None:
    async with etcd_store_group(etcd) as world:
        config = manager_config(tmp_path, etcd.store(world.prefix))
        rotator = open_keys(config)
        client = EtcdClient(target.parse(config.store))
        try:
            with pytest.raises(ConflictError, match="already holds cluster"):
                await _bootstrap_or_join(config, rotator, client)
        finally:
            await client.close()
        assert encryption.load_key(config.identity_dir, rotator.unseal) is None
