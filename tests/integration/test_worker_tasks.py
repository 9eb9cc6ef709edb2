"""The worker with real containers, images and networks: what becomes of assigned tasks, and what a killed daemon leaves."""

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
from agent.session.ports import TaskLogOptions
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
from tests.support.worker_node import WorkerNode, assign, import_busybox, network_change, task_of, worker_node

pytestmark = pytest.mark.root

S = TaskState
FOREVER = "while :; do sleep 0.1; done"


class Place:
    """A host that outlives its daemons: folders, a cgroup, a network namespace."""

    def __init__(self, folder: Path, cgroup_parent: str, netns: str, address: str) -> None:
        self.folder, self.cgroup_parent, self.netns, self.address = folder, cgroup_parent, netns, address

    def life(self) -> AbstractAsyncContextManager[WorkerNode]:
        return worker_node(self.folder, self.cgroup_parent, self.netns, self.address)

    def daemon(self, step: int = 0, *functions: str) -> subprocess.Popen[str]:
        """A life in a process of its own; it dies before this step, if any (see `worker_node`)."""
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
async def place(tmp_path: Path, host: Host) -> AsyncIterator[Place]:
    async with switched_hosts(tmp_path / "net", 1) as board:
        spot = board.hosts[0]
        await spot.driver.close()
        made = Place(tmp_path / "node", host.cgroup_parent, spot.namespace.path, spot.address)
        try:
            yield made
        finally:
            async with made.life() as last:
                await last.worker.apply((), complete=True)
                await last.worker.wait_drained()
                await last.networks.remove_everything()
            spot.driver = spot.new_driver()
            await spot.driver.start()


@pytest.fixture
async def living(place: Place) -> AsyncIterator[WorkerNode]:
    async with place.life() as made:
        await import_busybox(made.images)
        yield made


async def test_a_task_runs_and_tells_every_state_it_passes(living: WorkerNode) -> None:
    task = task_of("one", "echo hello $WHO; exit 0", env=("WHO={{.Task.Name}}",))
    await living.worker.apply(assign(task), complete=True)
    status = await living.wait_state(task.id, S.COMPLETE)
    assert (status.state, status.container.exit_code if status.container else None) == (S.COMPLETE, 0)
    states = [each.state for each in living.statuses[task.id]]
    assert states == sorted(set(states)), "only ever up"
    assert await living.output(task.id) == f"hello web.1.{task.id}\n"
    entries = [entry.data async for entry in living.worker.task_logs(task.id, TaskLogOptions(follow=True))]
    assert entries == [f"hello web.1.{task.id}\n".encode()]


async def test_a_container_that_fails_gives_its_exit_code(living: WorkerNode) -> None:
    task = task_of("bad", "exit 7")
    await living.worker.apply(assign(task), complete=True)
    status = await living.wait_state(task.id, S.COMPLETE)
    assert (status.state, status.error) == (S.FAILED, "task: non-zero exit (7)")


async def test_an_image_that_is_not_here_rejects_the_task_naming_image_and_node(living: WorkerNode) -> None:
    task = task_of("img", "true", image="nowhere:5")
    await living.worker.apply(assign(task), complete=True)
    status = await living.wait_state(task.id, S.REJECTED)
    assert "nowhere:5" in status.error
    assert "lab-1" in status.error
    assert "docker load" in status.error


async def test_a_command_that_does_not_exist_fails_the_task(living: WorkerNode) -> None:
    task = task_of("cmd", "", command=("/no/such/thing",), args=())
    await living.worker.apply(assign(task), complete=True)
    status = await living.wait_state(task.id, S.FAILED)
    assert status.state is S.FAILED
    assert "/no/such/thing" in status.error


async def test_a_task_wanted_ready_starts_only_when_it_is_wanted_running(living: WorkerNode) -> None:
    task = task_of("late", FOREVER, desired=S.READY)
    await living.worker.apply(assign(task), complete=True)
    assert (await living.wait_state(task.id, S.READY)).state is S.READY
    assert living.containers.get(living.container_id(task.id)).state.status is RunStatus.CREATED
    await living.worker.apply(assign(replace(task, desired_state=S.RUNNING)), complete=False)
    assert (await living.wait_state(task.id, S.RUNNING)).container is not None


async def test_a_probe_that_fails_ends_the_task_and_one_that_passes_makes_it_run(living: WorkerNode) -> None:
    probe = HealthConfig(
        test=("CMD-SHELL", "cat /tmp/fine"), interval_ns=100_000_000, retries=2, start_interval_ns=100_000_000
    )
    good = task_of(
        "good", f"sleep 0.3; echo >/tmp/fine; {FOREVER}", healthcheck=replace(probe, start_period_ns=10_000_000_000)
    )
    ill = task_of("ill", FOREVER, healthcheck=probe)
    await living.worker.apply(assign(good, ill), complete=True)
    assert (await living.wait_state(good.id, S.RUNNING)).state is S.RUNNING
    status = await living.wait_state(ill.id, S.COMPLETE)
    assert (status.state, status.error) == (S.FAILED, "task: unhealthy container")


async def test_secrets_are_files_of_the_container_and_are_gone_with_it(living: WorkerNode, place: Place) -> None:
    secret = Secret(id="k" * 25, spec=SecretSpec(annotations=Annotations(name="key"), data=b"hush-7261-covey"))
    file = FileTarget(name="password", uid="7", gid="8", mode=0o440)
    reference = SecretReference(secret_id=secret.id, secret_name="key", file=file)
    task = task_of(
        "sec", f"stat -c '%u %g %a' /run/secrets/password; cat /run/secrets/password; {FOREVER}", secrets=(reference,)
    )
    change = AssignmentChange(kind=AssignmentKind.SECRET, id=secret.id, item=secret)
    await living.worker.apply([*assign(task), change], complete=True)
    await living.wait_state(task.id, S.RUNNING)
    await until((place.folder / "run/secrets" / task.id).exists)
    await living.wait_output(task.id, "hush-7261")
    assert (await living.output(task.id)).startswith("7 8 440\n")
    spoken = living.containers.log_path(living.container_id(task.id))
    for path in (place.folder / "state").rglob("*"):
        if path.is_file() and path != spoken and "merged" not in path.parts:
            assert b"hush-7261" not in path.read_bytes(), f"{path} holds the secret"
    await living.worker.apply(assign(replace(task, desired_state=S.SHUTDOWN)), complete=False)
    await living.wait_state(task.id, S.SHUTDOWN)
    await until(lambda: not (place.folder / "run/secrets" / task.id).exists())


async def test_a_secret_that_did_not_come_rejects_the_task_by_its_name(living: WorkerNode) -> None:
    task = task_of("nosec", FOREVER, secrets=(SecretReference(secret_id="z" * 25, secret_name="lost-key"),))
    await living.worker.apply(assign(task), complete=True)
    status = await living.wait_state(task.id, S.REJECTED)
    assert "lost-key" in status.error


async def test_a_task_that_is_shut_down_stays_for_its_logs_and_goes_when_withdrawn(living: WorkerNode) -> None:
    task = task_of("off", f"echo started; {FOREVER}")
    await living.worker.apply(assign(task), complete=True)
    await living.wait_state(task.id, S.RUNNING)
    await living.worker.apply(assign(replace(task, desired_state=S.SHUTDOWN)), complete=False)
    assert (await living.wait_state(task.id, S.SHUTDOWN)).state is S.SHUTDOWN
    container_id = living.container_id(task.id)
    assert await living.output(task.id) == "started\n"
    await living.worker.apply([AssignmentChange(kind=AssignmentKind.TASK, id=task.id)], complete=False)
    await living.wait_removed(task.id)
    with pytest.raises(NotFoundError):
        living.containers.get(container_id)
    with pytest.raises(NotFoundError):
        living.worker.task_logs(task.id, TaskLogOptions())


async def test_what_a_complete_set_does_not_name_is_shut_down_and_removed(living: WorkerNode) -> None:
    first, second = task_of("first", FOREVER), task_of("second", FOREVER)
    await living.worker.apply(assign(first, second), complete=True)
    for task in (first, second):
        await living.wait_state(task.id, S.RUNNING)
    await living.worker.apply(assign(second), complete=True)
    await living.wait_removed(first.id)
    assert [container.config.task_id for container in living.containers.list()] == [second.id]
    assert living.statuses[second.id][-1].state is S.RUNNING


async def test_a_task_wanted_gone_loses_its_container_and_waits_to_be_withdrawn(living: WorkerNode) -> None:
    task = task_of("away", FOREVER)
    await living.worker.apply(assign(task), complete=True)
    await living.wait_state(task.id, S.RUNNING)
    await living.worker.apply(assign(replace(task, desired_state=S.REMOVE)), complete=False)
    await living.wait_state(task.id, S.SHUTDOWN)
    await until(lambda: not living.containers.list())
    assert [record.task.id for record in living.worker.records()] == [task.id]


async def test_a_container_that_someone_removes_fails_its_task(living: WorkerNode) -> None:
    task = task_of("raid", FOREVER)
    await living.worker.apply(assign(task), complete=True)
    await living.wait_state(task.id, S.RUNNING)
    await living.containers.remove(living.container_id(task.id), force=True)
    assert (await living.wait_state(task.id, S.COMPLETE)).state is S.FAILED


NETWORK = Network(
    id="w" * 25,
    spec=NetworkSpec(annotations=Annotations(name="backend"), driver=Driver(name="overlay")),
    ipam=IPAM(configs=(IPAMConfig(subnet="10.0.7.0/24", gateway="10.0.7.1"),)),
    vni=4711,
)


def on_network(task: Task, address: str, place: Place) -> list[AssignmentChange]:
    """A task with an address, and the endpoint that the cluster tells of it."""
    joined = replace(task, networks=(NetworkAttachment(network_id=NETWORK.id, address=f"{address}/24"),))
    endpoint = NetworkEndpoint(
        id=f"{task.id}/{NETWORK.id}", network_id=NETWORK.id, task_id=task.id, node_id=task.node_id, host=place.address,
        address=address, service_id=task.service_id, service_name="web", task_name="web.1", ready=True,
    )  # fmt: skip
    return [*assign(joined), AssignmentChange(kind=AssignmentKind.ENDPOINT, id=endpoint.id, item=endpoint)]


def virtual(address: str) -> AssignmentChange:
    item = VirtualService(
        id=f"{'s' * 25}/{NETWORK.id}", network_id=NETWORK.id, service_id="s" * 25, name="web", address=address
    )
    return AssignmentChange(kind=AssignmentKind.VIRTUAL_SERVICE, id=item.id, item=item)


async def test_tasks_on_an_overlay_reach_each_other_by_the_services_name(living: WorkerNode, place: Place) -> None:
    server = task_of("srv", "mkdir /tmp/w; echo fine >/tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w")
    client = task_of("cli", f"while ! wget -q -O - http://web; do sleep 0.1; done; {FOREVER}")
    client = replace(client, service_id="c" * 25)
    changes = [
        network_change(NETWORK),
        virtual("10.0.7.2"),
        *on_network(server, "10.0.7.10", place),
        *assign(replace(client, networks=(NetworkAttachment(network_id=NETWORK.id, address="10.0.7.11/24"),))),
    ]
    await living.worker.apply(changes, complete=True)
    await living.wait_state(client.id, S.RUNNING)
    await living.wait_output(client.id, "fine")


async def test_a_network_that_was_not_told_rejects_the_task(living: WorkerNode) -> None:
    task = task_of("net", FOREVER, networks=(NetworkAttachment(network_id="q" * 25, address="10.0.9.2/24"),))
    await living.worker.apply(assign(task), complete=True)
    assert "q" * 25 in (await living.wait_state(task.id, S.REJECTED)).error


async def test_a_killed_daemon_adopts_its_containers_and_reports_what_ended_meanwhile(place: Place) -> None:
    """The daemon is killed with SIGKILL; one container ends while nobody looks; the next life needs no manager to tell of it."""
    daemon = place.daemon()
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
    runc = ["runc", f"--root={place.folder}/run/runtime"]
    pids = {name: words[2] for name, words in said.items()}
    finger = await asyncio.create_subprocess_exec(*runc, "exec", pids["ends"], "sh", "-c", "echo >/tmp/go")
    assert await finger.wait() == 0
    exits = place.folder / "run"
    await until(lambda: any(path.name == pids["ends"] for path in exits.rglob("*") if path.is_file()))
    async with place.life() as again:
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


async def test_a_daemon_that_lost_its_records_takes_the_containers_over_when_the_tasks_come_again(place: Place) -> None:
    task = task_of("keep", FOREVER)
    async with place.life() as first:
        await import_busybox(first.images)
        await first.worker.apply(assign(task), complete=True)
        status = await first.wait_state(task.id, S.RUNNING)
        container_id = first.container_id(task.id)
    for path in (place.folder / "state").glob("worker.db*"):
        path.unlink()
    async with place.life() as second:
        await second.worker.apply(assign(replace(task, status=status)), complete=True)
        assert second.container_id(task.id) == container_id
        assert second.containers.get(container_id).state.start_count == 1


async def web_and_its_client(living: WorkerNode, place: Place) -> tuple[Task, Task]:
    """A service and a client that asks it for ever, both at work."""
    server = task_of("srv", "mkdir /tmp/w; echo fine >/tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w")
    client = replace(task_of("cli", "while :; do wget -q -O - http://web; sleep 0.1; done"), service_id="c" * 25)
    client = replace(client, networks=(NetworkAttachment(network_id=NETWORK.id, address="10.0.7.11/24"),))
    await import_busybox(living.images)
    await living.worker.apply(
        [network_change(NETWORK), virtual("10.0.7.2"), *on_network(server, "10.0.7.10", place), *assign(client)],
        complete=True,
    )
    for task in (server, client):
        await living.wait_state(task.id, S.RUNNING)
    await living.wait_output(client.id, "fine")
    return server, client


async def test_a_network_works_on_after_a_restart_before_any_manager_speaks(place: Place) -> None:
    async with place.life() as first:
        _, client = await web_and_its_client(first, place)
    async with place.life() as second:
        await second.wait_state(client.id, S.RUNNING)
        before = (await second.output(client.id)).count("fine")
        await second.wait_output(client.id, "fine", before + 3)


DEATHS = 6
ADOPTION = ("agent.network.netns:Namespace.run", "agent.container.store:ContainerStore.save_state")


async def test_daemons_that_die_while_they_adopt_leave_every_container_to_the_next(place: Place) -> None:
    """One life after the other is killed at a later step of its start; the one that is let live finds all as it was."""

    async def start(step: int) -> str:
        daemon = place.daemon(step, *ADOPTION)
        try:
            assert daemon.stdout is not None
            return await asyncio.to_thread(daemon.stdout.readline)
        finally:
            daemon.kill()
            daemon.communicate()

    async with place.life() as first:
        tasks = await web_and_its_client(first, place)
        ids = {first.container_id(task.id) for task in tasks}
        pids = {one: first.containers.get(one).state.pid for one in ids}
    steps = int((await start(0)).split()[1])
    assert steps > DEATHS
    for number in range(DEATHS):
        assert await start(1 + number * steps // DEATHS) == ""
    async with place.life() as last:
        assert {one: last.containers.get(one).state.pid for one in ids} == pids
        assert {path.name for path in (place.folder / "run/netns/containers").iterdir()} == ids
        for task in tasks:
            assert (await last.wait_state(task.id, S.RUNNING)).state is S.RUNNING
        before = (await last.output(tasks[1].id)).count("fine")
        await last.wait_output(tasks[1].id, "fine", before + 3)


async def test_what_a_daemon_was_starting_when_it_stopped_is_started_by_the_next(place: Place) -> None:
    """Eight tasks are on their way when the first of them runs and the daemon lets go."""
    tasks = [task_of(f"t{number}", FOREVER) for number in range(8)]
    async with place.life() as first:
        await import_busybox(first.images)
        await first.worker.apply(assign(*tasks), complete=True)
        await until(lambda: any(told[-1].state is S.RUNNING for told in first.statuses.values()))
    async with place.life() as second:
        for task in tasks:
            status = await second.wait_state(task.id, S.RUNNING)
            assert (status.state, status.error) == (S.RUNNING, "")
            assert second.containers.get(second.container_id(task.id)).state.start_count == 1


async def test_a_container_that_waited_for_its_start_when_the_daemon_was_killed_is_started_by_the_next(
    place: Place,
) -> None:
    daemon = place.daemon(1, "agent.runtime.runc:OciRuntime.start")
    try:
        out, _ = await asyncio.to_thread(daemon.communicate, f"waits {FOREVER}\n", 20)
        assert out == "STARTED 0\n"
    finally:
        daemon.kill()
        daemon.communicate()
    async with place.life() as second:
        status = await second.wait_state("waits".ljust(25, "0"), S.RUNNING)
        assert (status.state, status.error) == (S.RUNNING, "")
