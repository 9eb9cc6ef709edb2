"""Worker with real containers, images and networks: assigned tasks, and recovery after a daemon is killed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from agent.container.model import RunStatus
from agent.session.interfaces import TaskLogOptions
from covey.errors import NotFoundError
from covey.objects import (
    IPAM,
    Annotations,
    Driver,
    FileTarget,
    HealthConfig,
    IPAMConfig,
    Network,
    NetworkAttachment,
    NetworkSpec,
    Secret,
    SecretReference,
    SecretSpec,
    Task,
)
from covey.objects.assignment import AssignmentChange, AssignmentKind, NetworkEndpoint, VirtualService
from covey.objects.base import replace
from covey.states import TaskState
from tests.support.container_host import Host, until
from tests.support.switched_hosts import switched_hosts
from tests.support.worker_node import (
    WorkerNode,
    assign,
    import_busybox,
    network_change,
    on_networks,
    task_of,
    worker_node,
)

pytestmark = pytest.mark.root

S = TaskState
FOREVER = "while :; do sleep 0.1; done"


class WorkerHost:
    """Folders, cgroup and network namespace of a host, which survive its daemons."""

    def __init__(self, folder: Path, cgroup_parent: str, netns: str, address: str) -> None:
        self.folder, self.cgroup_parent, self.netns, self.address = folder, cgroup_parent, netns, address

    def run_worker(self) -> AbstractAsyncContextManager[WorkerNode]:
        return worker_node(self.folder, self.cgroup_parent, self.netns, self.address)

    def daemon(self, step: int = 0, *functions: str) -> subprocess.Popen[str]:
        """Run a worker in its own process. It kills itself before this step, if any (see `worker_node`)."""
        root = Path(__file__).parents[2]
        arguments = [str(self.folder), self.cgroup_parent, self.netns, self.address, str(step), *functions]
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).parents[1] / "support" / "worker_node.py"), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": f"{root}:{root}/proto"},
        )  # fmt: skip


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path / "node")
    try:
        yield made
    finally:
        made.tear_down()
        subprocess.run(["umount", str(tmp_path / "node/run/secrets")], check=False, capture_output=True)
        assert made.monitors() == []


@pytest.fixture
async def worker_host(tmp_path: Path, host: Host) -> AsyncIterator[WorkerHost]:
    async with switched_hosts(tmp_path / "net", 1) as net:
        network_host = net.hosts[0]
        await network_host.driver.close()
        made = WorkerHost(tmp_path / "node", host.cgroup_parent, network_host.namespace.path, network_host.address)
        try:
            yield made
        finally:
            async with made.run_worker() as last:
                await last.worker.apply((), complete=True)
                await last.worker.wait_drained()
                await last.networks.remove_everything()
            network_host.driver = network_host.new_driver()
            await network_host.driver.start()


@pytest.fixture
async def node(worker_host: WorkerHost) -> AsyncIterator[WorkerNode]:
    async with worker_host.run_worker() as made:
        await import_busybox(made.images)
        yield made


async def test_a_task_runs_and_reports_every_state(node: WorkerNode) -> None:
    task = task_of("one", "echo hello $WHO; exit 0", env=("WHO={{.Task.Name}}",))
    await node.worker.apply(assign(task), complete=True)
    status = await node.wait_state(task.id, S.COMPLETE)
    assert (status.state, status.container.exit_code if status.container else None) == (S.COMPLETE, 0)
    states = [each.state for each in node.statuses[task.id]]
    assert states == sorted(set(states)), "a state went down"
    assert await node.output(task.id) == f"hello web.1.{task.id}\n"
    entries = [entry.data async for entry in node.worker.task_logs(task.id, TaskLogOptions(follow=True))]
    assert entries == [f"hello web.1.{task.id}\n".encode()]


async def test_a_failed_container_reports_its_exit_code(node: WorkerNode) -> None:
    task = task_of("bad", "exit 7")
    await node.worker.apply(assign(task), complete=True)
    status = await node.wait_state(task.id, S.COMPLETE)
    assert (status.state, status.error) == (S.FAILED, "task: non-zero exit (7)")


async def test_a_missing_image_rejects_the_task_and_is_named(node: WorkerNode) -> None:
    task = task_of("img", "true", image="nowhere:5")
    await node.worker.apply(assign(task), complete=True)
    status = await node.wait_state(task.id, S.REJECTED)
    assert "nowhere:5" in status.error


async def test_a_missing_command_fails_the_task(node: WorkerNode) -> None:
    task = task_of("cmd", "", command=("/no/such/thing",), args=())
    await node.worker.apply(assign(task), complete=True)
    status = await node.wait_state(task.id, S.FAILED)
    assert status.state is S.FAILED
    assert "/no/such/thing" in status.error


async def test_a_task_with_desired_state_ready_starts_only_when_it_is_running(node: WorkerNode) -> None:
    task = task_of("late", FOREVER, desired=S.READY)
    await node.worker.apply(assign(task), complete=True)
    assert (await node.wait_state(task.id, S.READY)).state is S.READY
    assert node.containers.get(node.container_id(task.id)).state.status is RunStatus.CREATED
    await node.worker.apply(assign(replace(task, desired_state=S.RUNNING)), complete=False)
    assert (await node.wait_state(task.id, S.RUNNING)).container is not None


async def test_a_failing_health_check_fails_the_task_and_a_passing_one_makes_it_running(node: WorkerNode) -> None:
    probe = HealthConfig(
        test=("CMD-SHELL", "cat /tmp/fine"), interval_ns=100_000_000, retries=2, start_interval_ns=100_000_000
    )
    good = task_of(
        "good", f"sleep 0.3; echo >/tmp/fine; {FOREVER}", healthcheck=replace(probe, start_period_ns=10_000_000_000)
    )
    ill = task_of("ill", FOREVER, healthcheck=probe)
    await node.worker.apply(assign(good, ill), complete=True)
    assert (await node.wait_state(good.id, S.RUNNING)).state is S.RUNNING
    status = await node.wait_state(ill.id, S.COMPLETE)
    assert status.state is S.FAILED
    assert status.error.startswith("task: unhealthy container: cat: can't open '/tmp/fine'")


async def test_secrets_are_files_in_the_container_and_removed_with_it(
    node: WorkerNode, worker_host: WorkerHost
) -> None:
    secret = Secret(id="k" * 25, spec=SecretSpec(annotations=Annotations(name="key"), data=b"hush-7261-covey"))
    file = FileTarget(name="password", uid="7", gid="8", mode=0o440)
    reference = SecretReference(secret_id=secret.id, secret_name="key", file=file)
    task = task_of(
        "sec", f"stat -c '%u %g %a' /run/secrets/password; cat /run/secrets/password; {FOREVER}", secrets=(reference,)
    )
    change = AssignmentChange(kind=AssignmentKind.SECRET, id=secret.id, item=secret)
    await node.worker.apply([*assign(task), change], complete=True)
    await node.wait_state(task.id, S.RUNNING)
    await until((worker_host.folder / "run/secrets" / task.id).exists)
    await node.wait_output(task.id, "hush-7261")
    assert (await node.output(task.id)).startswith("7 8 440\n")
    log_path = node.containers.log_path(node.container_id(task.id))
    for path in (worker_host.folder / "state").rglob("*"):
        if path.is_file() and not path.samefile(log_path) and "merged" not in path.parts:
            assert b"hush-7261" not in path.read_bytes(), f"{path} holds the secret"
    await node.worker.apply(assign(replace(task, desired_state=S.SHUTDOWN)), complete=False)
    await node.wait_state(task.id, S.SHUTDOWN)
    await until(lambda: not (worker_host.folder / "run/secrets" / task.id).exists())


async def test_a_missing_secret_rejects_the_task_and_is_named(node: WorkerNode) -> None:
    task = task_of("nosec", FOREVER, secrets=(SecretReference(secret_id="z" * 25, secret_name="lost-key"),))
    await node.worker.apply(assign(task), complete=True)
    status = await node.wait_state(task.id, S.REJECTED)
    assert "lost-key" in status.error


async def test_a_shut_down_task_keeps_its_logs_until_it_is_unassigned(node: WorkerNode) -> None:
    task = task_of("off", f"echo started; {FOREVER}")
    await node.worker.apply(assign(task), complete=True)
    await node.wait_state(task.id, S.RUNNING)
    await node.worker.apply(assign(replace(task, desired_state=S.SHUTDOWN)), complete=False)
    assert (await node.wait_state(task.id, S.SHUTDOWN)).state is S.SHUTDOWN
    container_id = node.container_id(task.id)
    assert await node.output(task.id) == "started\n"
    await node.worker.apply([AssignmentChange(kind=AssignmentKind.TASK, id=task.id)], complete=False)
    await node.wait_removed(task.id)
    with pytest.raises(NotFoundError):
        node.containers.get(container_id)
    with pytest.raises(NotFoundError):
        node.worker.task_logs(task.id, TaskLogOptions())


async def test_tasks_missing_in_a_complete_set_are_shut_down_and_removed(node: WorkerNode) -> None:
    first, second = task_of("first", FOREVER), task_of("second", FOREVER)
    await node.worker.apply(assign(first, second), complete=True)
    for task in (first, second):
        await node.wait_state(task.id, S.RUNNING)
    await node.worker.apply(assign(second), complete=True)
    await node.wait_removed(first.id)
    assert [container.config.task_id for container in node.containers.list()] == [second.id]
    assert node.statuses[second.id][-1].state is S.RUNNING


async def test_a_task_with_desired_state_remove_loses_its_container_and_stays_until_unassigned(
    node: WorkerNode,
) -> None:
    task = task_of("away", FOREVER)
    await node.worker.apply(assign(task), complete=True)
    await node.wait_state(task.id, S.RUNNING)
    await node.worker.apply(assign(replace(task, desired_state=S.REMOVE)), complete=False)
    await node.wait_state(task.id, S.SHUTDOWN)
    await until(lambda: not node.containers.list())
    assert [record.task.id for record in node.worker.records()] == [task.id]


async def test_a_container_removed_by_a_user_fails_its_task(node: WorkerNode) -> None:
    task = task_of("raid", FOREVER)
    await node.worker.apply(assign(task), complete=True)
    await node.wait_state(task.id, S.RUNNING)
    await node.containers.remove(node.container_id(task.id), force=True)
    assert (await node.wait_state(task.id, S.COMPLETE)).state is S.FAILED


NETWORK = Network(
    id="w" * 25,
    spec=NetworkSpec(annotations=Annotations(name="backend"), driver=Driver(name="overlay")),
    ipam=IPAM(configs=(IPAMConfig(subnet="10.0.7.0/24", gateway="10.0.7.1"),)),
    vni=4711,
)


def task_with_endpoint(task: Task, address: str, worker_host: WorkerHost) -> list[AssignmentChange]:
    """Assignments of a task with an address, and of its endpoint."""
    joined = on_networks(task, NetworkAttachment(network_id=NETWORK.id, address=f"{address}/24"))
    endpoint = NetworkEndpoint(
        id=f"{task.id}/{NETWORK.id}", network_id=NETWORK.id, task_id=task.id, node_id=task.node_id, host=worker_host.address,
        address=address, service_id=task.service_id, service_name="web", task_name="web.1", ready=True,
    )  # fmt: skip
    return [*assign(joined), AssignmentChange(kind=AssignmentKind.ENDPOINT, id=endpoint.id, item=endpoint)]


def vip_change(address: str) -> AssignmentChange:
    item = VirtualService(
        id=f"{'s' * 25}/{NETWORK.id}", network_id=NETWORK.id, service_id="s" * 25, name="web", address=address
    )
    return AssignmentChange(kind=AssignmentKind.VIRTUAL_SERVICE, id=item.id, item=item)


async def test_tasks_on_an_overlay_reach_each_other_by_service_name(node: WorkerNode, worker_host: WorkerHost) -> None:
    server = task_of("srv", "mkdir /tmp/w; echo fine >/tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w")
    client = task_of("cli", f"while ! wget -q -O - http://web; do sleep 0.1; done; {FOREVER}")
    client = replace(client, service_id="c" * 25)
    changes = [
        network_change(NETWORK),
        vip_change("10.0.7.2"),
        *task_with_endpoint(server, "10.0.7.10", worker_host),
        *assign(on_networks(client, NetworkAttachment(network_id=NETWORK.id, address="10.0.7.11/24"))),
    ]
    await node.worker.apply(changes, complete=True)
    await node.wait_state(client.id, S.RUNNING)
    await node.wait_output(client.id, "fine")


async def test_an_unknown_network_rejects_the_task(node: WorkerNode) -> None:
    task = task_of("net", FOREVER, networks=(NetworkAttachment(network_id="q" * 25, address="10.0.9.2/24"),))
    await node.worker.apply(assign(task), complete=True)
    assert "q" * 25 in (await node.wait_state(task.id, S.REJECTED)).error


async def test_a_daemon_adopts_containers_after_a_kill_and_reports_exits(worker_host: WorkerHost) -> None:
    """1. The daemon is killed. 2. One container exits. 3. The next daemon reports that without a manager."""
    daemon = worker_host.daemon()
    assert daemon.stdin is not None
    assert daemon.stdout is not None
    said = {}
    try:
        assert (await asyncio.to_thread(daemon.stdout.readline)).startswith("STARTED")
        for name, script in (("stays", FOREVER), ("ends", "while ! cat /tmp/go; do sleep 0.05; done; exit 3")):
            daemon.stdin.write(f"{name} {script}\n")
            daemon.stdin.flush()
            said[name] = (await asyncio.to_thread(daemon.stdout.readline)).split()
            assert said[name][:2] == [name, "RUNNING"]
    finally:
        daemon.kill()
        daemon.communicate()
    runc = ["runc", f"--root={worker_host.folder}/run/runtime"]
    pids = {name: words[2] for name, words in said.items()}
    end_command = await asyncio.create_subprocess_exec(*runc, "exec", pids["ends"], "sh", "-c", "echo >/tmp/go")
    assert await end_command.wait() == 0
    exits = worker_host.folder / "run"
    await until(lambda: any(path.name == pids["ends"] for path in exits.rglob("*") if path.is_file()))
    async with worker_host.run_worker() as again:
        ended = await again.wait_state("ends".ljust(25, "0"), S.COMPLETE)
        assert (ended.state, ended.error) == (S.FAILED, "task: non-zero exit (3)")
        stays = again.containers.get(pids["stays"]).state
        assert (stays.status, stays.start_count) == (RunStatus.RUNNING, 1)
        kept = await again.wait_state("stays".ljust(25, "0"), S.RUNNING)
        assert kept.state is S.RUNNING
        task = task_of("stays", FOREVER)
        await again.worker.apply(assign(task), complete=True)
        await again.wait_removed("ends".ljust(25, "0"))
        assert again.containers.get(pids["stays"]).state.start_count == 1
        await again.worker.apply(assign(replace(task, desired_state=S.SHUTDOWN)), complete=False)
        assert (await again.wait_state(task.id, S.SHUTDOWN)).state is S.SHUTDOWN


async def test_a_daemon_that_lost_its_database_adopts_containers_when_tasks_are_assigned_again(
    worker_host: WorkerHost,
) -> None:
    task = task_of("keep", FOREVER)
    async with worker_host.run_worker() as first:
        await import_busybox(first.images)
        await first.worker.apply(assign(task), complete=True)
        status = await first.wait_state(task.id, S.RUNNING)
        container_id = first.container_id(task.id)
    for path in (worker_host.folder / "state").glob("worker.db*"):
        path.unlink()
    async with worker_host.run_worker() as second:
        await second.worker.apply(assign(replace(task, status=status)), complete=True)
        assert second.container_id(task.id) == container_id
        assert second.containers.get(container_id).state.start_count == 1


async def start_web_and_client(node: WorkerNode, worker_host: WorkerHost) -> tuple[Task, Task]:
    """Start a web task and a client that fetches from it all the time."""
    server = task_of("srv", "mkdir /tmp/w; echo fine >/tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w")
    client = replace(task_of("cli", "while :; do wget -q -O - http://web; sleep 0.1; done"), service_id="c" * 25)
    client = on_networks(client, NetworkAttachment(network_id=NETWORK.id, address="10.0.7.11/24"))
    await import_busybox(node.images)
    await node.worker.apply(
        [
            network_change(NETWORK),
            vip_change("10.0.7.2"),
            *task_with_endpoint(server, "10.0.7.10", worker_host),
            *assign(client),
        ],
        complete=True,
    )
    for task in (server, client):
        await node.wait_state(task.id, S.RUNNING)
    await node.wait_output(client.id, "fine")
    return server, client


async def test_a_network_works_after_a_restart_without_a_manager(worker_host: WorkerHost) -> None:
    async with worker_host.run_worker() as first:
        _, client = await start_web_and_client(first, worker_host)
    async with worker_host.run_worker() as second:
        await second.wait_state(client.id, S.RUNNING)
        before = (await second.output(client.id)).count("fine")
        await second.wait_output(client.id, "fine", before + 3)


KILLS = 6
ADOPTION = ("agent.network.netns:Namespace.run", "agent.container.store:ContainerStore.save_state")


async def test_daemons_killed_during_adoption_leave_every_container_to_the_next(worker_host: WorkerHost) -> None:
    """Several daemons are killed, each at a later step of its start. The last one finds everything unchanged."""

    async def start(step: int) -> str:
        daemon = worker_host.daemon(step, *ADOPTION)
        try:
            assert daemon.stdout is not None
            return await asyncio.to_thread(daemon.stdout.readline)
        finally:
            daemon.kill()
            daemon.communicate()

    async with worker_host.run_worker() as first:
        tasks = await start_web_and_client(first, worker_host)
        ids = {first.container_id(task.id) for task in tasks}
        pids = {one: first.containers.get(one).state.pid for one in ids}
    steps = int((await start(0)).split()[1])
    assert steps > KILLS
    for number in range(KILLS):
        assert await start(1 + number * steps // KILLS) == ""
    async with worker_host.run_worker() as last:
        assert {one: last.containers.get(one).state.pid for one in ids} == pids
        assert {path.name for path in (worker_host.folder / "run/netns/containers").iterdir()} == ids
        for task in tasks:
            assert (await last.wait_state(task.id, S.RUNNING)).state is S.RUNNING
        before = (await last.output(tasks[1].id)).count("fine")
        await last.wait_output(tasks[1].id, "fine", before + 3)


async def test_tasks_starting_when_a_daemon_stopped_are_started_by_the_next(worker_host: WorkerHost) -> None:
    """Eight tasks are being started when the first one runs and the daemon stops."""
    tasks = [task_of(f"t{number}", FOREVER) for number in range(8)]
    async with worker_host.run_worker() as first:
        await import_busybox(first.images)
        await first.worker.apply(assign(*tasks), complete=True)
        await until(lambda: any(statuses[-1].state is S.RUNNING for statuses in first.statuses.values()))
    async with worker_host.run_worker() as second:
        for task in tasks:
            status = await second.wait_state(task.id, S.RUNNING)
            assert (status.state, status.error) == (S.RUNNING, "")
            assert second.containers.get(second.container_id(task.id)).state.start_count == 1


async def test_a_created_container_is_started_by_the_next_daemon_after_a_kill(
    worker_host: WorkerHost,
) -> None:
    daemon = worker_host.daemon(1, "agent.runtime.runc:OciRuntime.start")
    try:
        out, _ = await asyncio.to_thread(daemon.communicate, f"waits {FOREVER}\n", 20)
        assert out == "STARTED 0\n"
    finally:
        daemon.kill()
        daemon.communicate()
    async with worker_host.run_worker() as second:
        status = await second.wait_state("waits".ljust(25, "0"), S.RUNNING)
        assert (status.state, status.error) == (S.RUNNING, "")
