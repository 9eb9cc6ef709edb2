"""The worker over a host in memory: what it does with assignments, and what it finds again after a restart."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.container.model import ContainerConfig
from agent.endpoint.container_networks import EndpointOwner
from agent.session.interfaces import TaskLogOptions
from agent.worker.task_controller import DRAIN_SECONDS
from agent.worker.worker import Worker
from covey.errors import NotFoundError, UnavailableError
from covey.objects import (
    Annotations,
    ContainerSpec,
    Driver,
    Network,
    NetworkAttachment,
    NetworkAttachmentConfig,
    NetworkSpec,
    Object,
    Secret,
    SecretReference,
    SecretSpec,
    Task,
    TaskSpec,
    TaskStatus,
)
from covey.objects.assignment import AssignmentChange, AssignmentKind
from covey.objects.base import replace
from covey.placeholders import NodeFacts
from covey.states import TaskState
from tests.support.fake_host import FakeContainers, FakeImages, FakeNetworks
from tests.support.local_networks import RecordedFragments, open_local

KINDS = {Task: AssignmentKind.TASK, Network: AssignmentKind.NETWORK, Secret: AssignmentKind.SECRET}


class Host:
    """A host that outlives its workers. Secrets are kept below ``run``, which is on a tmpfs already."""

    def __init__(self, state: Path, run: Path) -> None:
        self.state, self.run = state, run
        self.containers, self.images, self.networks = FakeContainers(), FakeImages(), FakeNetworks()
        self.reported: dict[str, list[TaskStatus]] = {}

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        """One run of the worker, with a reader of its statuses."""
        local = await open_local(self.state, self.networks, RecordedFragments())
        endpoints = EndpointOwner(self.networks, local, lambda: ("9.9.9.9",))
        worker = Worker(
            self.state, self.run, containers=self.containers, images=self.images, networks=self.networks, endpoints=endpoints,
            node=lambda: NodeFacts(id="n" * 25, hostname="host-1"),
        )  # fmt: skip
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            await worker.start()
            reader = group.create_task(self._read_statuses(worker))
            try:
                yield worker
            finally:
                await worker.close()
                reader.cancel()
                local.networks.close()

    async def _read_statuses(self, worker: Worker) -> None:
        while True:
            await worker.statuses.wait()
            batch = worker.statuses.batch()
            for task_id, status in batch.items():
                self.reported.setdefault(task_id, []).append(status)
            worker.statuses.acknowledge(batch)

    async def reaches(self, task_id: str, state: TaskState) -> TaskStatus:
        await until(lambda: task_id in self.reported and self.reported[task_id][-1].state is state)
        return self.reported[task_id][-1]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as run:
        yield Host(tmp_path, Path(run))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - any change of the host may fulfil it
            await asyncio.sleep(0.005)


def task(name: str, *, secret: str = "", network: str = "", desired: TaskState = TaskState.RUNNING) -> Task:
    secrets = (SecretReference(secret_id=secret, secret_name=secret),) if secret else ()
    return Task(
        id=name.ljust(25, "0"),
        spec=TaskSpec(
            container=ContainerSpec(image="busybox", secrets=secrets),
            networks=(NetworkAttachmentConfig(target=network),) if network else (),
        ),
        service_annotations=Annotations(name="web"),
        slot=1,
        networks=(NetworkAttachment(network_id=network, address="10.0.1.5/24"),) if network else (),
        status=TaskStatus(state=TaskState.ASSIGNED),
        desired_state=desired,
    )


def secret(name: str, data: bytes = b"1") -> Secret:
    return Secret(id=name, spec=SecretSpec(annotations=Annotations(name=name), data=data))


def network(name: str) -> Network:
    return Network(
        id=name, vni=4097, spec=NetworkSpec(annotations=Annotations(name=name), driver=Driver(name="overlay"))
    )


def assigned(*items: Object) -> list[AssignmentChange]:
    return [AssignmentChange(kind=KINDS[type(item)], id=item.id, item=item) for item in items]  # type: ignore[arg-type]


def withdrawn(*items: Object) -> list[AssignmentChange]:
    return [AssignmentChange(kind=KINDS[type(item)], id=item.id) for item in items]


async def test_an_assigned_task_runs_with_its_network_and_secret_and_each_state_is_recorded(host: Host) -> None:
    one = task("one", secret="key", network="net")
    async with host.worker() as worker:
        await worker.apply(assigned(one, secret("key"), network("net")), complete=True)
        await host.reaches(one.id, TaskState.RUNNING)
        (record,) = worker.records()
        config = host.containers.of_task(one.id).config
        assert [mount.target for mount in config.secrets] == ["key"]
        assert ("attach", config.id, "net", "eth0") in host.networks.calls
        assert record.history[-1] is TaskState.RUNNING


async def test_a_difference_changes_only_what_it_names(host: Host) -> None:
    one, two = task("one"), task("two")
    async with host.worker() as worker:
        await worker.apply(assigned(one, two), complete=True)
        await host.reaches(one.id, TaskState.RUNNING)
        await host.reaches(two.id, TaskState.RUNNING)
        await worker.apply(withdrawn(one), complete=False)
        await until(lambda: [record.task.id for record in worker.records()] == [two.id])
        assert [container.config.task_id for container in host.containers.list()] == [two.id]


async def test_a_complete_set_removes_what_it_does_not_name(host: Host) -> None:
    one, two = task("one", secret="key", network="net"), task("two")
    async with host.worker() as worker:
        await worker.apply(assigned(one, two, secret("key"), network("net")), complete=True)
        await host.reaches(one.id, TaskState.RUNNING)
        await worker.apply(assigned(two), complete=True)
        await until(lambda: [record.task.id for record in worker.records()] == [two.id])
        assert host.networks.applied[-1].removed_networks == ("net",)
        again = task("again", secret="key")
        await worker.apply(assigned(again), complete=False)
        assert "secret key" in (await host.reaches(again.id, TaskState.REJECTED)).error, "the secret is gone too"


async def test_the_same_complete_set_again_changes_nothing(host: Host) -> None:
    """Every new session with a leader begins with a complete set."""
    everything = assigned(task("one", network="net"), network("net"))
    async with host.worker() as worker:
        await worker.apply(everything, complete=True)
        status = await host.reaches(task("one").id, TaskState.RUNNING)
        container = host.containers.of_task(task("one").id)
        await worker.apply(everything, complete=True)
        assert host.networks.applied[-1] == type(host.networks.applied[-1])(), "the driver gets no change"
        assert host.containers.of_task(task("one").id) == container
        assert host.reported[task("one").id][-1] == status


async def test_an_assignment_that_failed_half_way_is_repaired_by_the_next_complete_set(host: Host) -> None:
    """1. The driver fails while a difference is applied. 2. The session ends and gets a complete set. 3. What the difference added and the
    set does not name is removed, what the set names is there.
    """
    one = task("one", network="kept")
    async with host.worker() as worker:
        await worker.apply(assigned(network("old")), complete=True)
        host.networks.broken = True
        with pytest.raises(UnavailableError):
            await worker.apply(
                [*assigned(network("kept"), network("short")), *withdrawn(network("old"))], complete=False
            )
        host.networks.broken = False
        await worker.apply(assigned(one, network("kept")), complete=True)
        changes = host.networks.applied[-1]
        assert [item.id for item in changes.networks] == ["kept"]
        assert set(changes.removed_networks) == {"old", "short"}
        await host.reaches(one.id, TaskState.RUNNING)


async def test_a_task_that_is_to_end_is_shut_down_and_stays_on_record_until_it_is_withdrawn(host: Host) -> None:
    one = task("one")
    async with host.worker() as worker:
        await worker.apply(assigned(one), complete=True)
        await host.reaches(one.id, TaskState.RUNNING)
        await worker.apply(assigned(replace(one, desired_state=TaskState.REMOVE)), complete=False)
        await host.reaches(one.id, TaskState.SHUTDOWN)
        await until(lambda: not host.containers.list())
        assert len(worker.records()) == 1
        await worker.apply(withdrawn(one), complete=False)
        await until(lambda: not worker.records())


async def test_a_task_on_a_network_is_stopped_only_after_other_nodes_had_time_to_leave_it(host: Host) -> None:
    """Other nodes learn at the same moment as this one that the task is to end; their connections are still on the way."""
    served, alone = task("served", network="net"), task("alone")
    async with host.worker() as worker:
        await worker.apply(assigned(network("net"), served, alone), complete=True)
        await host.reaches(served.id, TaskState.RUNNING)
        await host.reaches(alone.id, TaskState.RUNNING)
        loop = asyncio.get_running_loop()
        began = loop.time()
        ending = [replace(one, desired_state=TaskState.SHUTDOWN) for one in (served, alone)]
        await worker.apply(assigned(*ending), complete=False)
        await host.reaches(alone.id, TaskState.SHUTDOWN)
        assert host.reported[served.id][-1].state is TaskState.RUNNING
        await host.reaches(served.id, TaskState.SHUTDOWN)
        assert loop.time() - began >= DRAIN_SECONDS


async def test_a_task_whose_image_is_still_pulled_ends_at_once(host: Host) -> None:
    one = task("one")
    host.images.available.clear()
    async with host.worker() as worker:
        await worker.apply(assigned(one), complete=True)
        await until(lambda: host.images.asked)
        await worker.apply(withdrawn(one), complete=False)
        await until(lambda: not worker.records())
        assert host.containers.list() == []


async def test_a_container_that_exits_fails_its_task_with_the_exit_code(host: Host) -> None:
    one = task("one")
    async with host.worker() as worker:
        await worker.apply(assigned(one), complete=True)
        await host.reaches(one.id, TaskState.RUNNING)
        host.containers.exit(host.containers.of_task(one.id).id, 3)
        status = await host.reaches(one.id, TaskState.FAILED)
        assert status.error == "task: non-zero exit (3)"
        assert status.container is not None
        assert status.container.exit_code == 3


async def test_a_container_that_does_not_start_fails_its_task_with_the_reason(host: Host) -> None:
    host.containers.start_error = UnavailableError("runc: no space left on device")
    async with host.worker() as worker:
        await worker.apply(assigned(task("one")), complete=True)
        assert (await host.reaches(task("one").id, TaskState.FAILED)).error == "runc: no space left on device"


async def test_after_a_restart_tasks_are_adopted_and_an_exit_that_happened_meanwhile_is_reported(host: Host) -> None:
    lives, exits = task("lives", network="net"), task("exits")
    async with host.worker() as worker:
        await worker.apply(assigned(lives, exits, network("net")), complete=True)
        await host.reaches(lives.id, TaskState.RUNNING)
        await host.reaches(exits.id, TaskState.RUNNING)
    before = host.containers.of_task(lives.id)
    host.containers.exit(host.containers.of_task(exits.id).id, 0)
    host.reported.clear()
    async with host.worker():
        await host.reaches(exits.id, TaskState.COMPLETE)
        await host.reaches(lives.id, TaskState.RUNNING)
        assert host.containers.of_task(lives.id) == before
        assert ("adopt", before.id, 1, ()) in host.networks.calls
        assert [item.id for item in host.networks.applied[-1].networks] == ["net"]


async def test_after_a_restart_a_complete_set_ends_tasks_and_networks_that_it_does_not_name(host: Host) -> None:
    one = task("one", network="net")
    async with host.worker() as worker:
        await worker.apply(assigned(one, network("net")), complete=True)
        await host.reaches(one.id, TaskState.RUNNING)
    async with host.worker() as worker:
        await worker.apply((), complete=True)
        await worker.wait_drained()
        assert host.containers.list() == []
        assert host.networks.applied[-1].removed_networks == ("net",)


async def test_after_a_restart_a_task_waits_for_its_secret_until_the_complete_set_has_come(host: Host) -> None:
    one = task("one", secret="key")
    async with host.worker() as worker:
        await worker.apply([], complete=True)
        host.networks.broken = True  # nothing is prepared before the worker ends
        with pytest.raises(UnavailableError):
            await worker.apply(assigned(one, secret("key")), complete=False)
        host.networks.broken = False
    async with host.worker() as worker:
        await worker.apply(assigned(one), complete=False)
        await host.reaches(one.id, TaskState.PREPARING)
        await worker.apply(assigned(one, secret("key")), complete=True)
        await host.reaches(one.id, TaskState.RUNNING)


async def test_after_the_first_complete_set_left_over_containers_of_tasks_go_and_others_stay(host: Host) -> None:
    await host.containers.create(
        ContainerConfig(id="a" * 64, name="lost", task_id="lost", image="busybox", image_id="1", args=("sh",))
    )
    await host.containers.create(ContainerConfig(id="b" * 64, name="mine", image="busybox", image_id="1", args=("sh",)))
    async with host.worker() as worker:
        await worker.apply((), complete=True)
        assert [container.name for container in host.containers.list()] == ["mine"]


async def test_the_container_of_a_task_whose_record_was_lost_is_adopted(host: Host) -> None:
    one = task("one")
    async with host.worker() as worker:
        await worker.apply(assigned(one), complete=True)
        await host.reaches(one.id, TaskState.RUNNING)
    before = host.containers.of_task(one.id).id
    for path in host.state.iterdir():
        path.unlink()
    async with host.worker() as worker:
        await worker.apply(assigned(one), complete=True)
        assert [record.container_id for record in worker.records()] == [before]


async def test_the_log_of_an_unknown_task_is_refused_by_its_id(host: Host) -> None:
    async with host.worker() as worker:
        with pytest.raises(NotFoundError, match="No such task on this node: nobody"):
            worker.task_logs("nobody", TaskLogOptions())
