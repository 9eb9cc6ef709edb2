"""A cluster that goes on with one manager: everything acknowledged is there, those who come back find their place, and a crash between any
two steps leaves the old state or the new one. A backup for a day when none is left is one moment of the cluster, whoever writes meanwhile.
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
async def three() -> AsyncIterator[tuple[ManagerCluster, list[ManagerHost]]]:
    async with manager_cluster() as here:
        yield here, await here.bootstrap(3)


async def test_the_one_that_is_left_goes_on_alone_and_those_who_come_back_rejoin() -> None:
    async with three() as (here, hosts):
        leader = await here.leader()
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
        assert made.meta.version > INDEX_GAP, "what the lost managers may have written has lower versions"
        nodes = (await survivor.call("ListNodes", control_pb2.ListRequest())).nodes
        assert len(nodes) == 3
        assert all(node.role == NodeRole.MANAGER for node in nodes)
        assert await eventually("the others have no manager's status", lambda: reachable(survivor, 1))

        # With their old state, both at once, as after a power cut: a majority of the group of before.
        for host in lost:
            await host.start("restart")
        assert [await exit_code(host) for host in lost] == [3, 3]
        for host in lost:
            host.remove_manager_state()
            await host.start("join", [survivor.mtls_addr])
        await eventually("all three manage again", lambda: reachable(survivor, 3))
        assert await configs(lost[0]) == {*(f"before-{number}" for number in range(5)), "after"}


async def test_what_a_majority_wrote_beside_a_forced_cluster_can_be_read_from_the_log_that_it_keeps() -> None:
    """1. One of three is cut off. 2. The others go on. 3. The one is founded anew, and they give way. 4. An operator wants their writes."""
    async with three() as (here, hosts):
        first, second, third = hosts
        await first.kill()
        leader = await here.leader()
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
    """As after a time off that was longer than the certificate's life."""
    before, ago = host.identities.require(), wall_clock() - 400 * 24 * HOUR
    certificate = certificates.issue_certificate(
        certificates.create_root(before.cluster_id, ago), signing_request(before.key),
        node_id=before.node_id, role=before.role, cluster_id=before.cluster_id, now_ns=ago, lifetime_ns=HOUR,
    )  # fmt: skip
    host.identities.save(NodeIdentity.parse(certificate=certificate, key=before.key, root=before.root))


async def test_managers_whose_certificates_have_all_expired_come_back_by_one_that_is_founded_anew() -> None:
    async with three() as (here, hosts):
        leader = await here.leader()
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
        await eventually("three manage again", lambda: reachable(first, 3))


async def test_a_backup_is_not_restored_beside_a_manager_that_lives() -> None:
    """1. One of three managers loses its disk. 2. Its operator restores last night's backup on it. 3. The healthy majority would end."""
    async with three() as (here, hosts):
        lost, *others = hosts
        path, key = await others[0].backup()
        await lost.kill()
        leader = await here.leader()
        await leader.call("CreateConfig", config_of("after-the-backup"))
        shutil.rmtree(lost.folder / "state")
        lost.key_cache.clear()
        lost.key_cache.backup_key = key
        with pytest.raises(AssertionError, match="did not start"):
            await lost.start("restore", restore_path=str(path))
        assert "belongs to the cluster in this backup and is running" in lost.log.read_text()
        assert not (lost.folder / "state" / "identity").exists(), "nothing is written"
        assert await configs(leader) == {"after-the-backup"}
        await leader.call("CreateConfig", config_of("still-writes"))

        for host in others:
            await host.kill()
        await lost.kill()
        await lost.start("restore", restore_path=str(path))
        assert await configs(lost) == set()


async def test_a_removed_member_is_refused_by_those_who_know_the_group_from_a_snapshot_alone() -> None:
    async with three() as (here, hosts):
        for host in hosts:
            await host.kill()
        first, second, third = hosts
        await first.start("force")
        second.remove_manager_state()
        await second.start("join", [first.mtls_addr])
        await eventually("two manage", lambda: reachable(first, 2))
        await first.kill()
        await second.kill()
        await second.start("force")  # it knows of the third from the snapshot that it was sent
        await third.start("restart")
        # the third knows the first and itself as its group, and the second by its old address
        assert await exit_code(third) == 3


class Writers:
    """One for each manager, until the block ends. ``versions`` holds what was acknowledged, by name."""

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

    async def more(self, count: int) -> None:
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


async def backed_up(host: ManagerHost) -> tuple[int, set[str]]:
    """The version of a backup taken through this manager, and the configs in it."""
    key, data = "", b""
    async with host.control() as stub:
        async for part in stub.Backup(control_pb2.BackupRequest(own_key=True), timeout=20):
            key += part.key
            data += part.data
    head, view, _ = backup.unseal(io.BytesIO(data), key)
    return head.version, {config.spec.annotations.name for config in view.configs}


@contextlib.asynccontextmanager
async def behind(host: ManagerHost) -> AsyncIterator[None]:
    """A manager that stands still and learns of nothing until the block ends."""
    assert host.process is not None
    host.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        host.process.send_signal(signal.SIGCONT)


async def test_a_backup_amid_writes_is_one_moment_that_holds_all_that_was_acknowledged_before() -> None:
    """Seven of eight through a manager that stood still while others wrote."""
    async with three() as (here, hosts):
        leader = await here.leader()
        follower = next(host for host in hosts if host is not leader)
        writers = Writers(hosts)
        taken: list[tuple[int, set[str]]] = []
        meanwhile = 0
        async with writers.writing():
            for number in range(8):
                asked = leader if number == 0 else follower
                async with behind(follower):
                    await writers.more(20)
                    before = set(writers.versions)
                taken.append(await backed_up(asked))
                assert before <= taken[-1][1], "what was acknowledged is not in the backup"
                meanwhile += len(writers.versions) - len(before)
        assert meanwhile > 8, "too little was written meanwhile to mean something"
        for version, held in taken:
            assert held == {name for name, at in writers.versions.items() if at <= version}, "it is of several moments"
