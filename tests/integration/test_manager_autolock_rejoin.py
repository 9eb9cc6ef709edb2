"""Autolock of a manager that rejoins: it follows the cluster's current lock, whatever its old key file says."""

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


async def rejoin(host: ManagerHost, to: ManagerHost) -> None:
    """Rejoin as a daemon does after its manager learned that it was removed."""
    try:
        await host.start("restart", [to.mtls_addr])
    except AssertionError:
        assert host.process is not None
    assert host.process is not None
    assert await host.process.wait() == 3
    host.process = None
    remove_manager_state(host.folder / "state" / "manager", keep_log=True)
    await host.start("join", [to.mtls_addr])


async def test_an_unlocked_manager_is_locked_before_it_is_ready_in_a_restored_locked_cluster() -> None:
    """1. Back up a locked cluster. 2. Turn autolock off. 3. Restore the backup. 4. An old manager returns."""
    async with manager_cluster() as group:
        first = group.manager()
        await first.start("bootstrap", cluster_spec=SPEC)
        second = await group.add_manager(first)
        path = first.folder / "backup"
        backup_key, key = await backup(first, path), await unlock_key(first)
        await update(first, spec=codec.to_wire(ClusterSpec()))
        await eventually("no manager locked", lambda: is_sealed_with(first, "") and is_sealed_with(second, ""))
        await first.kill()
        await second.kill()

        restored = await restore(group, path, backup_key)
        cluster = await restored.call("GetCluster", control_pb2.GetClusterRequest())
        assert cluster.meta.version > INDEX_GAP, "the version is not above those that the old managers followed"
        await rejoin(second, restored)
        assert data_keys.is_locked(keys_path(second)), "the manager was ready before it was locked"
        await eventually("everything sealed with the cluster's key", lambda: is_sealed_with(second, key))


async def test_a_locked_manager_is_unlocked_by_a_restored_cluster_without_autolock() -> None:
    """1. Take a backup. 2. Force a new cluster, which raises all versions, and lock it. 3. Restore the backup, which is not locked."""
    async with manager_cluster() as group:
        (first, second) = await group.bootstrap(2)
        path = first.folder / "backup"
        backup_key = await backup(first, path)
        await first.kill()
        await second.kill()
        await first.start("force")
        await update(first, rotate_worker_token=True)
        await update(first, spec=codec.to_wire(ClusterSpec(auto_lock=True)))
        await rejoin(second, first)
        key = await unlock_key(first)
        await eventually("both locked", lambda: is_sealed_with(first, key) and is_sealed_with(second, key))
        await first.kill()
        await second.kill()

        restored = await restore(group, path, backup_key)
        await rejoin(second, restored)
        await eventually("nothing locked", lambda: is_sealed_with(second, ""))


async def test_rejoining_managers_use_the_unlock_key_of_the_forced_new_cluster() -> None:
    """1. One of three misses a rotation of the unlock key. 2. A new cluster is forced on it: its key is the old one."""
    async with manager_cluster() as group:
        first, *others = await group.bootstrap(3)
        await update(first, spec=codec.to_wire(ClusterSpec(auto_lock=True)))
        missed = await unlock_key(first)
        await eventually("all locked", lambda: all(is_sealed_with(host, missed) for host in (first, *others)))
        await first.kill()
        leader = await group.leader()
        await update(leader, rotate_unlock_key=True)
        rotated = await unlock_key(leader)
        await eventually(
            "the others sealed with the new key", lambda: all(is_sealed_with(host, rotated) for host in others)
        )
        for host in others:
            await host.kill()

        await first.start("force")
        assert await unlock_key(first) == missed
        await rejoin(others[0], first)
        assert can_decrypt(others[0], missed), "the manager is ready but the cluster's key does not decrypt its file"
        await eventually("everything sealed with it", lambda: is_sealed_with(others[0], missed))


async def test_a_locked_manager_that_rejoins_stays_locked_while_it_replays_old_state() -> None:
    """1. Managers are locked long after the cluster was created. 2. One is removed from the group and rejoins with its key file. 3. The first
    state that it receives says that managers are not locked.
    """
    async with manager_cluster() as group:
        first, _, third = await group.bootstrap(3)
        await write(first, 5000)
        await update(first, spec=codec.to_wire(ClusterSpec(auto_lock=True)))
        key = await unlock_key(first)
        await eventually("it locked", lambda: is_sealed_with(third, key))
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
