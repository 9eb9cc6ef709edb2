"""Worker of a node with real containers, images and networks; run as a program, a daemon that a test can kill.

`worker_node.py FOLDER CGROUP NETNS ADDRESS STEP FUNCTION…` prints `STARTED` and the number of steps so far. Then it reads `TASK SCRIPT`
lines, assigns each as a complete set and prints `TASK RUNNING`. A step is a call of one of the functions (`module:Class.method`). The process
kills itself before step number STEP, counted from 1.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import os
import signal
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.container.service import ContainerService
from agent.endpoint.container_networks import EndpointOwner
from agent.endpoint.local_endpoints import LocalEndpoints
from agent.image.model import Image
from agent.image.store import ImageStore
from agent.local_network.networks import LocalNetworks
from agent.network.driver import GATEWAY_BRIDGE, NetworkDriver
from agent.worker.worker import Worker
from covey.objects import (
    Annotations,
    ContainerSpec,
    Network,
    NetworkAttachment,
    NetworkAttachmentConfig,
    Task,
    TaskSpec,
    TaskStatus,
)
from covey.objects.assignment import AssignmentChange, AssignmentKind
from covey.objects.base import replace
from covey.placeholders import NodeFacts
from covey.states import TaskState
from tests.support.switched_hosts import eventually

NODE = NodeFacts(id="n" * 25, hostname="lab-1")
APPLETS = (
    "sh",
    "sleep",
    "cat",
    "echo",
    "ls",
    "stat",
    "id",
    "env",
    "ip",
    "hostname",
    "nslookup",
    "wget",
    "httpd",
    "true",
    "mkdir",
)


class LocalImages:
    """The images of this host only. Implements `agent.worker.interfaces.ImagesPort`."""

    def __init__(self, images: ImageStore) -> None:
        self._images = images

    async def ensure(self, reference: str, registry_auth: str = "") -> Image:
        return self._images.get(reference)


class WorkerNode:
    """Running parts of a node, and the statuses that its worker reported."""

    def __init__(
        self, images: ImageStore, containers: ContainerService, networks: NetworkDriver, worker: Worker
    ) -> None:
        self.images, self.containers, self.networks, self.worker = images, containers, networks, worker
        self.statuses: dict[str, list[TaskStatus]] = {}

    async def record_statuses(self) -> None:
        statuses = self.worker.statuses
        while True:
            await statuses.wait()
            batch = statuses.batch()
            for task_id, status in batch.items():
                self.statuses.setdefault(task_id, []).append(status)
            statuses.acknowledge(batch)

    async def wait_state(self, task_id: str, state: TaskState, seconds: float = 20) -> TaskStatus:
        """Wait until the task has reached the state, or a later one. Returns its status."""
        try:
            await eventually(lambda: task_id in self.statuses and self.statuses[task_id][-1].state >= state, seconds)
        except TimeoutError:
            raise AssertionError(f"{task_id} never reached {state.name}: {self.statuses.get(task_id)}") from None
        return self.statuses[task_id][-1]

    async def wait_output(self, task_id: str, text: str, times: int = 1, seconds: float = 20) -> None:
        """Wait until the container's output has the text at least ``times`` times."""

        async def said() -> bool:
            return (await self.output(task_id)).count(text) >= times

        await eventually(said, seconds)

    async def wait_removed(self, task_id: str, seconds: float = 20) -> None:
        await eventually(lambda: all(record.task.id != task_id for record in self.worker.records()), seconds)

    async def output(self, task_id: str) -> str:
        record = next(each for each in self.worker.records() if each.task.id == task_id)
        return "".join([entry.data.decode() async for entry in self.containers.logs(record.container_id)])

    def container_id(self, task_id: str) -> str:
        return next(each.container_id for each in self.worker.records() if each.task.id == task_id)


@asynccontextmanager
async def worker_node(folder: Path, cgroup_parent: str, netns: str, address: str) -> AsyncIterator[WorkerNode]:
    """Run a worker. At the end it stops like a daemon: its containers keep running."""
    state, run = folder / "state", folder / "run"
    images = ImageStore(state)
    networks = NetworkDriver(address, run, lambda: ("10.99.0.254",), host_netns=netns)
    registry = LocalNetworks(state / "networks.db", engine_id="worker", bridge=GATEWAY_BRIDGE)
    local = LocalEndpoints(registry, networks, networks.reconciler, GATEWAY_BRIDGE)
    endpoints = EndpointOwner(networks, local, lambda: ("10.99.0.254",))
    containers = ContainerService(state, run, cgroup_parent, images, endpoints)
    worker = Worker(
        state,
        run,
        containers=containers,
        images=LocalImages(images),
        networks=networks,
        endpoints=endpoints,
        node=lambda: NODE,
    )
    made = WorkerNode(images, containers, networks, worker)
    await images.start()
    await networks.start()
    await local.open()
    await containers.open()
    await worker.start()
    listening = asyncio.create_task(made.record_statuses())
    try:
        yield made
    finally:
        listening.cancel()
        await worker.close()
        await containers.close()
        await local.close()
        await networks.close()
        await images.close()


def busybox_tar() -> bytes:
    """Root file system with Debian's static busybox."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("run", 0o755)):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            archive.addfile(folder)
        archive.add("/bin/busybox", "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return buffer.getvalue()


async def import_busybox(images: ImageStore, name: str = "busybox:latest") -> str:
    async def chunks() -> AsyncIterator[bytes]:
        yield busybox_tar()

    return await images.import_(chunks(), name, changes=['CMD ["sh"]', "ENV PATH=/bin"])


def task_of(
    name: str,
    script: str,
    *,
    networks: tuple[NetworkAttachment, ...] = (),
    desired: TaskState = TaskState.RUNNING,
    slot: int = 1,
    **spec: object,
) -> Task:
    """Task whose ID is its name, padded. The grace period is short because process 1 ignores SIGTERM."""
    container = ContainerSpec(image="busybox", args=("sh", "-c", script), stop_grace_ns=200_000_000)
    task = Task(
        id=name.ljust(25, "0"), service_id="s" * 25, slot=slot, node_id=NODE.id, service_annotations=Annotations(name="web"),
        spec=TaskSpec(container=replace(container, **spec)), status=TaskStatus(state=TaskState.ASSIGNED), desired_state=desired,
    )  # fmt: skip
    return on_networks(task, *networks)


def on_networks(task: Task, *networks: NetworkAttachment) -> Task:
    """The task with these addresses on the networks that its spec names."""
    targets = tuple(NetworkAttachmentConfig(target=item.network_id) for item in networks)
    return replace(task, networks=networks, spec=replace(task.spec, networks=targets))


def assign(*tasks: Task) -> list[AssignmentChange]:
    return [AssignmentChange(kind=AssignmentKind.TASK, id=task.id, item=task) for task in tasks]


def network_change(network: Network) -> AssignmentChange:
    return AssignmentChange(kind=AssignmentKind.NETWORK, id=network.id, item=network)


class CrashSteps:
    """Counts calls of functions and kills this process before call number ``last``; 0 for never."""

    def __init__(self, last: int, functions: list[str]) -> None:
        self.last, self.count = last, 0
        for function in functions:
            module, _, path = function.partition(":")
            owner, _, name = path.partition(".")
            self._count_calls(getattr(importlib.import_module(module), owner), name)

    def _count_calls(self, owner: type, name: str) -> None:
        work = getattr(owner, name)

        def step(*arguments: object, **options: object) -> object:
            self.count += 1
            if self.count == self.last:
                os.kill(os.getpid(), signal.SIGKILL)
            return work(*arguments, **options)

        setattr(owner, name, step)


async def main(folder: Path, cgroup_parent: str, netns: str, address: str, steps: CrashSteps) -> None:
    async with worker_node(folder, cgroup_parent, netns, address) as made:
        print("STARTED", steps.count, flush=True)
        await import_busybox(made.images)
        loop = asyncio.get_running_loop()
        tasks = []
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            name, _, script = line.strip().partition(" ")
            tasks.append(task_of(name, script))
            await made.worker.apply(assign(*tasks), complete=True)
            status = await made.wait_state(tasks[-1].id, TaskState.RUNNING)
            print(name, status.state.name, made.container_id(tasks[-1].id), flush=True)


if __name__ == "__main__":
    counted = CrashSteps(int(sys.argv[5]), sys.argv[6:])
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], counted))
