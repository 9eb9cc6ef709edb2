"""An etcd that is restored from a snapshot while managers run."""

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


async def writes(seat: EtcdStoreNode, name: str) -> bool:
    try:
        await seat.create(name)
    except CoveyError:
        return name in seat.names()
    return True


async def created(name: str, seats: list[EtcdStoreNode]) -> None:
    """By whoever leads, as soon as somebody does."""
    async with asyncio.timeout(30):
        while not [seat for seat in seats if seat.is_leader and await writes(seat, name)]:  # noqa: ASYNC110 - any of them
            await asyncio.sleep(0.05)


async def test_managers_that_run_go_on_from_the_state_that_was_restored(etcd: EtcdCluster, tmp_path: Path) -> None:
    async with etcd_store_group(etcd, 2) as world:
        leader = await world.wait_leader()
        await leader.create("kept")
        etcd.ctl("snapshot", "save", str(tmp_path / "snapshot"))
        for number in range(40):
            await leader.create(f"gone-{number}")
        other = next(seat for seat in world.nodes if seat is not leader)
        await other.consensus.read_index()
        before = other.consensus._follower.applied
        with other.store.watch() as (_, commits):
            etcd.restore(tmp_path / "snapshot")
            with pytest.raises(LaggedError):
                await asyncio.wait_for(anext(commits), 20)
        await created("new", world.nodes)
        for seat in world.nodes:
            await seat.consensus.read_index()
            assert seat.names() == {"kept", "new"}
            assert seat.consensus._follower.applied < before
        await eventually(
            "both are known to run", lambda: all(one.reachable for one in leader.consensus.members()) and leader.fresh
        )


async def test_a_manager_that_comes_back_when_a_restored_etcd_is_beyond_what_it_had_notices(
    etcd: EtcdCluster, tmp_path: Path
) -> None:
    """The revision that it goes on from exists there too, with another past."""
    async with tcp_relays(etcd) as [relay], etcd_store_group(etcd) as world:
        leader = await world.wait_leader()
        seat = await world.add_node("m2", store=f"etcd://{relay.endpoint}{world.prefix}")
        etcd.ctl("snapshot", "save", str(tmp_path / "snapshot"))
        await leader.create("gone")
        await eventually("it has it", lambda: "gone" in seat.names())
        relay.refuses = True
        relay.cut()
        etcd.restore(tmp_path / "snapshot")
        number = 0
        while leader.consensus._follower.applied <= seat.consensus._follower.applied + 5 or not leader.fresh:
            await created(f"new-{number}", [leader])
            number += 1
        assert "gone" in seat.names()
        relay.refuses = False
        await eventually("it has what is there", lambda: seat.names() == leader.names() and seat.fresh)
        assert "gone" not in leader.names()


async def test_a_managers_files_follow_the_unlock_key_of_the_restored_cluster(
    etcd: EtcdCluster, tmp_path: Path
) -> None:
    store = etcd.store("/locked")
    async with manager_cluster() as here:
        host = here.manager()
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
        await eventually("it lies under the later key", lambda: opens(second))
        etcd.restore(tmp_path / "snapshot")
        await eventually("it lies under the restored cluster's key", lambda: opens(first))
