"""A manager that begins another membership follows the cluster's lock as it is now, whatever its file of keys says of the membership before."""

import asyncio

import pytest

from covey import codec
from covey.objects import ClusterSpec
from coveypb.v1 import control_pb2, objects_pb2
from manager.bootstrap.recovered_state import INDEX_GAP
from manager.keys import data_keys
from manager.raft.join_client import leave
from node.manager_state import remove_manager_state
from tests.support.locked_managers import SPEC, can_decrypt, is_sealed_with, keys_path, unlock_key, update
from tests.support.manager_processes import ManagerHost, eventually, manager_cluster
from tests.support.restored_managers import backup, restore

pytestmark = pytest.mark.timeout(180)


async def come_back(host: ManagerHost, to: ManagerHost) -> None:
    """As a daemon does whose manager learns that its membership is over."""
    try:
        await host.start("restart", [to.mtls_addr])
    except AssertionError:
        assert host.process is not None
    assert host.process is not None
    assert await host.process.wait() == 3
    host.process = None
    remove_manager_state(host.folder / "state" / "manager", keep_log=True)
    await host.start("join", [to.mtls_addr])


async def test_a_manager_that_was_plain_after_the_backup_is_locked_before_it_is_ready_in_the_restored_cluster() -> None:
    """1. A backup of a locked cluster. 2. Autolock is turned off. 3. The backup is restored. 4. A manager of before comes back."""
    async with manager_cluster() as here:
        first = here.manager()
        await first.start("bootstrap", cluster_spec=SPEC)
        second = await here.add_manager(first)
        path = first.folder / "backup"
        own, key = await backup(first, path), await unlock_key(first)
        await update(first, spec=codec.to_wire(ClusterSpec()))
        await eventually("nobody is locked", lambda: is_sealed_with(first, "") and is_sealed_with(second, ""))
        await first.kill()
        await second.kill()

        restored = await restore(here, path, own)
        cluster = await restored.call("GetCluster", control_pb2.GetClusterRequest())
        assert cluster.meta.version > INDEX_GAP, "above all that managers of before followed"
        await come_back(second, restored)
        assert data_keys.is_locked(keys_path(second)), "ready means locked"
        await eventually("all lies under the cluster's key", lambda: is_sealed_with(second, key))


async def test_a_manager_follows_a_restored_cluster_also_after_one_that_was_restored_later() -> None:
    """1. A backup. 2. The cluster is founded anew, which lifts all versions, and locked. 3. The backup brings back one that is not locked."""
    async with manager_cluster() as here:
        (first, second) = await here.bootstrap(2)
        path = first.folder / "backup"
        own = await backup(first, path)
        await first.kill()
        await second.kill()
        await first.start("force")
        await update(first, rotate_worker_token=True)
        await update(first, spec=codec.to_wire(ClusterSpec(auto_lock=True)))
        await come_back(second, first)
        key = await unlock_key(first)
        await eventually("both are locked", lambda: is_sealed_with(first, key) and is_sealed_with(second, key))
        await first.kill()
        await second.kill()

        restored = await restore(here, path, own)
        await come_back(second, restored)
        await eventually("nothing is locked", lambda: is_sealed_with(second, ""))


async def test_managers_come_back_under_the_key_of_the_one_that_the_cluster_was_founded_anew_from() -> None:
    """1. One of three misses a rotation of the unlock key. 2. The cluster goes on from that one: its key is the one that it knew."""
    async with manager_cluster() as here:
        first, *others = await here.bootstrap(3)
        await update(first, spec=codec.to_wire(ClusterSpec(auto_lock=True)))
        missed = await unlock_key(first)
        await eventually("all are locked", lambda: all(is_sealed_with(host, missed) for host in (first, *others)))
        await first.kill()
        leader = await here.leader()
        await update(leader, rotate_unlock_key=True)
        rotated = await unlock_key(leader)
        await eventually("the others follow", lambda: all(is_sealed_with(host, rotated) for host in others))
        for host in others:
            await host.kill()

        await first.start("force")
        assert await unlock_key(first) == missed
        await come_back(others[0], first)
        assert can_decrypt(others[0], missed), "it is ready, so the key that the cluster shows opens it"
        await eventually("all lies under it", lambda: is_sealed_with(others[0], missed))


async def test_a_locked_manager_that_joins_anew_never_lies_open_while_it_goes_through_what_was_true_once() -> None:
    """1. Long after the cluster began, managers are locked. 2. One is taken out of the group and joins anew with the keys that it has. 3. What
    it is sent first says that managers are not locked.
    """
    async with manager_cluster() as here:
        first, _, third = await here.bootstrap(3)
        await write(first, 5000)
        await update(first, spec=codec.to_wire(ClusterSpec(auto_lock=True)))
        key = await unlock_key(first)
        await eventually("it is locked", lambda: is_sealed_with(third, key))
        identity = third.identities.require()
        await leave([first.mtls_addr], identity.credentials, node_id=identity.node_id)
        assert third.process is not None
        assert await third.process.wait() == 3
        remove_manager_state(third.folder / "state" / "manager", keep_log=False)
        await third.start("join", [first.mtls_addr])
        assert is_sealed_with(third, key)
        assert "keys are not locked" not in third.log.read_text()


async def write(host: ManagerHost, count: int) -> None:
    async with host.control() as stub:
        for start in range(0, count, 50):
            await asyncio.gather(*(stub.CreateConfig(config_of(start + number)) for number in range(50)))


def config_of(number: int) -> control_pb2.CreateConfigRequest:
    spec = objects_pb2.ConfigSpec(annotations=objects_pb2.Annotations(name=f"c{number}"), data=b"x" * 1000)
    return control_pb2.CreateConfigRequest(spec=spec)
