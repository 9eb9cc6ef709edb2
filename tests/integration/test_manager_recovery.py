"""Recovery of a cluster: force new cluster from one manager, rejoin of the others, backup and restore.

Acknowledged writes survive, and returning managers rejoin. A backup is a consistent snapshot, even during writes.
"""

import asyncio
import contextlib
import io
import shutil
import signal
from collections.abc import AsyncIterator

import pytest

from agent.identity import NodeIdentity, join_cluster, renew_certificate
from agent.identity.csr import signing_request
from covey.clock import HOUR, wall_clock
from covey.states import NodeRole, Reachability
from coveypb.v1 import control_pb2, objects_pb2
from manager import backup
from manager.bootstrap.recovered_state import INDEX_GAP
from manager.ca import certificates
from node.manager_state import remove_manager_state
from tests.support.manager_processes import ManagerCluster, ManagerHost, eventually, manager_cluster

pytestmark = pytest.mark.timeout(240)


def config_of(name: str, data: bytes = b"x") -> control_pb2.CreateConfigRequest:
    spec = objects_pb2.ConfigSpec(annotations=objects_pb2.Annotations(name=name), data=data)
    return control_pb2.CreateConfigRequest(spec=spec)


async def configs(host: ManagerHost) -> set[str]:
    return {
        found.spec.annotations.name for found in (await host.call("ListConfigs", control_pb2.ListRequest())).configs
    }


async def reachable(host: ManagerHost, count: int) -> bool:
    nodes = (await host.call("ListNodes", control_pb2.ListRequest())).nodes
    return sum(node.manager_status.reachability == Reachability.REACHABLE for node in nodes) == count


async def exit_code(host: ManagerHost, seconds: float = 20) -> int:
    assert host.process is not None
    async with asyncio.timeout(seconds):
        code = await host.process.wait()
    host.process = None
    return code


@contextlib.asynccontextmanager
async def three_managers() -> AsyncIterator[tuple[ManagerCluster, list[ManagerHost]]]:
    async with manager_cluster() as group:
        yield group, await group.bootstrap(3)


async def test_a_forced_new_cluster_keeps_all_writes_and_returning_managers_rejoin() -> None:
    async with three_managers() as (group, hosts):
        leader = await group.leader()
        for number in range(5):
            await leader.call("CreateConfig", config_of(f"before-{number}"))
        before = await leader.call("GetCluster", control_pb2.GetClusterRequest())
        survivor, *lost = [host for host in hosts if host is not leader] + [leader]
        for host in hosts:
            await host.kill()
        await survivor.start("force")

        assert await configs(survivor) == {f"before-{number}" for number in range(5)}
        after = await survivor.call("GetCluster", control_pb2.GetClusterRequest())
        assert (after.id, after.root_ca.cert) == (before.id, before.root_ca.cert)
        assert after.root_ca.join_token_worker == before.root_ca.join_token_worker
        made = await survivor.call("CreateConfig", config_of("after"))
        assert made.meta.version > INDEX_GAP, "versions may collide with those that the lost managers wrote"
        nodes = (await survivor.call("ListNodes", control_pb2.ListRequest())).nodes
        assert len(nodes) == 3
        assert all(node.role == NodeRole.MANAGER for node in nodes)
        assert await eventually("the others shown as unreachable", lambda: reachable(survivor, 1))

        # Both return with their old state: a majority of the old group.
        for host in lost:
            await host.start("restart")
        assert [await exit_code(host) for host in lost] == [3, 3]
        for host in lost:
            host.remove_manager_state()
            await host.start("join", [survivor.mtls_addr])
        await eventually("all three managers to be reachable", lambda: reachable(survivor, 3))
        assert await configs(lost[0]) == {*(f"before-{number}" for number in range(5)), "after"}


async def test_writes_of_the_old_majority_can_be_recovered_from_its_kept_log() -> None:
    """1. One of three is cut off. 2. The others continue. 3. A new cluster is forced on the first. 4. The writes of the others are recovered."""
    async with three_managers() as (group, hosts):
        first, second, third = hosts
        await first.kill()
        leader = await group.leader()
        await leader.call("CreateConfig", config_of("acknowledged"))
        await second.kill()
        await third.kill()
        await first.start("force")
        for host in (second, third):
            await host.start("restart")
            assert await exit_code(host) == 3
            remove_manager_state(host.folder / "state" / "manager", keep_log=True)
        await second.start("join", [first.mtls_addr])
        assert await configs(second) == set()
        await first.kill()
        await second.kill()

        manager = second.folder / "state" / "manager"
        (manager / "raft").rename(manager / "raft.aside")
        (manager / "raft.lost").rename(manager / "raft")
        await second.start("force")
        assert await configs(second) == {"acknowledged"}


def expire(host: ManagerHost) -> None:
    """Replace the certificate by an expired one."""
    before, ago = host.identities.require(), wall_clock() - 400 * 24 * HOUR
    certificate = certificates.issue_certificate(
        certificates.create_root(before.cluster_id, ago), signing_request(before.key),
        node_id=before.node_id, role=before.role, cluster_id=before.cluster_id, now_ns=ago, lifetime_ns=HOUR,
    )  # fmt: skip
    host.identities.save(NodeIdentity.parse(certificate=certificate, key=before.key, root=before.root))


async def test_managers_with_expired_certificates_recover_with_force_new_cluster() -> None:
    async with three_managers() as (group, hosts):
        leader = await group.leader()
        await leader.call("CreateConfig", config_of("before"))
        for host in hosts:
            await host.kill()
            expire(host)
        first, *others = hosts
        await first.start("force")
        renewed = await renew_certificate(first.identities, [f"unix:{first.folder}/run/manager.sock"])
        assert renewed.not_after_ns > wall_clock()
        assert await configs(first) == {"before"}
        for host in others:  # swarm leave --force, swarm join
            shutil.rmtree(host.folder / "state")
            await join_cluster(host.identities, (await first.tokens())[NodeRole.MANAGER], [first.join_addr])
            await host.start("join", [first.mtls_addr])
        await eventually("three managers to be reachable", lambda: reachable(first, 3))


async def test_a_backup_is_not_restored_while_a_manager_of_its_cluster_runs() -> None:
    """1. One of three managers loses its disk. 2. Its operator restores an old backup on it. 3. That would end the healthy majority."""
    async with three_managers() as (group, hosts):
        lost, *others = hosts
        path, key = await others[0].backup()
        await lost.kill()
        leader = await group.leader()
        await leader.call("CreateConfig", config_of("after-the-backup"))
        shutil.rmtree(lost.folder / "state")
        lost.key_cache.clear()
        lost.key_cache.backup_key = key
        with pytest.raises(AssertionError, match="did not start"):
            await lost.start("restore", restore_path=str(path))
        assert "belongs to the cluster in this backup and is running" in lost.log.read_text()
        assert not (lost.folder / "state" / "identity").exists(), "the refused restore wrote files"
        assert await configs(leader) == {"after-the-backup"}
        await leader.call("CreateConfig", config_of("still-writes"))

        for host in others:
            await host.kill()
        await lost.kill()
        await lost.start("restore", restore_path=str(path))
        assert await configs(lost) == set()


async def test_a_removed_member_is_refused_by_a_manager_that_knows_it_only_from_a_snapshot() -> None:
    async with three_managers() as (group, hosts):
        for host in hosts:
            await host.kill()
        first, second, third = hosts
        await first.start("force")
        second.remove_manager_state()
        await second.start("join", [first.mtls_addr])
        await eventually("two managers to be reachable", lambda: reachable(first, 2))
        await first.kill()
        await second.kill()
        await second.start("force")  # it knows the third from the leader's snapshot
        await third.start("restart")
        # the third knows only the first and itself as members, and the second by its old address
        assert await exit_code(third) == 3


class Writers:
    """One writer per manager, until the block ends. ``versions`` has the version of each acknowledged write."""

    def __init__(self, hosts: list[ManagerHost]) -> None:
        self.versions: dict[str, int] = {}
        self._hosts = hosts
        self._stop = asyncio.Event()

    async def _write(self, host: ManagerHost) -> None:
        number = 0
        async with host.control() as stub:
            while not self._stop.is_set():
                name, number = f"{host.addr}-{number}", number + 1
                made = await stub.CreateConfig(config_of(name, b"x" * 2000), timeout=20)
                self.versions[name] = made.meta.version

    async def wait_for_writes(self, count: int) -> None:
        wanted = len(self.versions) + count

        async def enough() -> bool:
            return len(self.versions) >= wanted

        await eventually(f"{count} more writes", enough)

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            for host in self._hosts:
                tasks.create_task(self._write(host))
            try:
                yield
            finally:
                self._stop.set()


async def take_backup(host: ManagerHost) -> tuple[int, set[str]]:
    """The version of a backup taken through this manager, and the configs in it."""
    key, data = "", b""
    async with host.control() as stub:
        async for part in stub.Backup(control_pb2.BackupRequest(own_key=True), timeout=20):
            key += part.key
            data += part.data
    head, view, _ = backup.unseal(io.BytesIO(data), key)
    return head.version, {config.spec.annotations.name for config in view.configs}


@contextlib.asynccontextmanager
async def paused(host: ManagerHost) -> AsyncIterator[None]:
    """Pause a manager until the block ends."""
    assert host.process is not None
    host.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        host.process.send_signal(signal.SIGCONT)


async def test_a_backup_during_writes_is_consistent_and_has_all_acknowledged_writes() -> None:
    """Seven of eight backups are taken through a manager that was paused while others wrote."""
    async with three_managers() as (group, hosts):
        leader = await group.leader()
        follower = next(host for host in hosts if host is not leader)
        writers = Writers(hosts)
        taken: list[tuple[int, set[str]]] = []
        concurrent_writes = 0
        async with writers.writing():
            for number in range(8):
                asked = leader if number == 0 else follower
                async with paused(follower):
                    await writers.wait_for_writes(20)
                    before = set(writers.versions)
                taken.append(await take_backup(asked))
                assert before <= taken[-1][1], "an acknowledged write is missing in the backup"
                concurrent_writes += len(writers.versions) - len(before)
        assert concurrent_writes > 8, "too few concurrent writes for a meaningful check"
        for version, held in taken:
            assert held == {name for name, at in writers.versions.items() if at <= version}, (
                "the backup is not one consistent state"
            )
