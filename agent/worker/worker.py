"""Worker of a node: takes over assignments, runs a controller for each task, and reports task statuses.

Invariant: a complete set is resolved to changes once, in ``apply``; an assignment that failed half-way is repaired by the next complete
set. ``apply`` returns once the assignments are saved, not once they are carried out. Closing the worker stops no container.
``agent.agent`` opens the containers, images and networks before the worker and closes them after it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

from agent.background_tasks import BackgroundTasks
from agent.container.api import EventQueue
from agent.container.model import RunStatus
from agent.endpoint.attachments import HeldAttachment
from agent.logs.entry import LogEntry
from agent.runtime.stats import ContainerStats
from agent.secret.store import SecretStore
from agent.session.interfaces import TaskLogOptions, TaskUsage
from agent.session.status_queue import StatusQueue
from agent.task.state_machine import TaskRecord, initial_status
from agent.worker.assigned_objects import AssignedObjects
from agent.worker.database import WorkerDatabase
from agent.worker.executor import Executor
from agent.worker.interfaces import ContainersPort, EndpointsPort, ImagesPort, NetworksPort
from agent.worker.network_config import network_changes
from agent.worker.task_controller import TaskController
from covey.clock import Clock, wall_clock
from covey.errors import ConflictError, CoveyError, DeadlineError, LaggedError, NotFoundError
from covey.ids import new_container_id
from covey.objects import Config, Network, Secret, Task
from covey.objects.assignment import AssignmentChange, AssignmentKind
from covey.placeholders import NodeFacts
from covey.states import TaskState
from covey.task_group import TaskGroup
from covey.task_predicates import is_attachment

log = logging.getLogger(__name__)

NETWORK_RETRY_SECONDS = 2.0
DRAIN_SECONDS = 60


class Worker:
    """One per daemon. Keeps ``state_dir/worker.db`` and the secrets of tasks below ``run_dir``. ``node`` returns the current node facts."""

    def __init__(
        self,
        state_dir: Path,
        run_dir: Path,
        *,
        containers: ContainersPort,
        images: ImagesPort,
        networks: NetworksPort,
        endpoints: EndpointsPort,
        node: Callable[[], NodeFacts],
        clock: Clock = wall_clock,
    ) -> None:
        self._containers = containers
        self._networks = networks
        self._endpoints = endpoints
        self._clock = clock
        self._database = WorkerDatabase(Path(state_dir) / "worker.db")
        self._secrets = SecretStore(run_dir)
        self._executor = Executor(
            containers=containers, images=images, endpoints=endpoints, secrets=self._secrets, node=node, clock=clock
        )
        self._statuses = StatusQueue()
        self._assigned = AssignedObjects()
        self._controllers: dict[str, TaskController] = {}
        self._background = BackgroundTasks("worker")
        self._applying = asyncio.Lock()
        self._network_retry_needed = asyncio.Event()
        self._task_gone = asyncio.Event()

    async def start(self) -> None:
        """Continues after a restart: adopts containers, reports what happened to them meanwhile, and resumes the tasks on record."""
        self._database.open()
        self._endpoints.attachments.bind(self._statuses.put)
        self._secrets.open()
        network_objects, records = self._database.network_objects(), self._database.tasks()
        self._assigned = AssignedObjects((*network_objects, *_assigned_tasks(records)))
        self._update_networks(network_objects)
        await self._update_network_driver(network_objects)
        self._secrets.remove_orphaned_files({record.task.id for record in records if not record.status.state.terminal})
        await self._background.open()
        self._background.spawn(self._watch_containers(), "container events")
        self._background.spawn(self._retry_networks(), "network retries")
        await self._adopt_networks(records)
        for record in records:
            self._statuses.put(record.task.id, record.status)
            self._start_controller(record)

    async def close(self) -> None:
        """Stops controlling tasks. Their containers and records stay."""
        await self._background.close()
        self._controllers.clear()
        self._database.close()

    @property
    def statuses(self) -> StatusQueue:
        """The statuses to report; after a start, those of every task on record."""
        return self._statuses

    def records(self) -> tuple[TaskRecord, ...]:
        """The records of all tasks, ordered by task id."""
        return tuple(self._controllers[task_id].record for task_id in sorted(self._controllers))

    async def apply(self, changes: Sequence[AssignmentChange], *, complete: bool) -> None:
        """Takes over a complete assignment set or a difference. Secrets and networks come first, because tasks use them."""
        async with self._applying:
            difference = self._assigned.difference(changes, complete=complete)
            self._assigned.begin(difference)
            self._update_secrets(difference)
            self._database.save_network_objects(difference)
            self._update_networks(difference)
            await self._update_network_driver(difference)
            self._update_tasks(difference)
            self._assigned.confirm(difference)
            if complete and not self._executor.has_complete_set:
                self._executor.has_complete_set = True
                await self._remove_unassigned()
                for lost in self._endpoints.attachments.unassigned():
                    self._restore_attachment(lost)
            for controller in self._controllers.values():
                controller.wake()

    async def end_all(self) -> None:
        """Ends all tasks without their grace period, because this node has left the cluster, and waits until they are gone.

        Raises:
            DeadlineError: tasks are left after ``DRAIN_SECONDS``.
        """
        await self.apply((), complete=True)
        containers = [controller.record.container_id for controller in self._controllers.values()]
        async with TaskGroup() as group:
            for container_id in containers:
                group.create_task(self._kill(container_id))
        await self.wait_drained()

    async def _kill(self, container_id: str) -> None:
        with contextlib.suppress(NotFoundError, ConflictError):  # it is gone, or does not run
            await self._containers.kill(container_id)

    async def wait_drained(self) -> None:
        """After an empty complete set: waits until all tasks are gone, with their containers and records.

        Raises:
            DeadlineError: tasks are left after ``DRAIN_SECONDS``.
        """
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._controllers:
                    self._task_gone.clear()
                    await self._task_gone.wait()
        except TimeoutError:
            raise DeadlineError(f"{len(self._controllers)} tasks did not end within {DRAIN_SECONDS} s") from None

    async def task_usages(self, task_ids: Sequence[str]) -> dict[str, TaskUsage]:
        """What those of the tasks use that run here. Each costs the reading of some files of its cgroup."""
        usages: dict[str, TaskUsage] = {}
        for task_id in task_ids:
            controller = self._controllers.get(task_id)
            if controller is None or controller.record.status.state is not TaskState.RUNNING:
                continue
            with contextlib.suppress(NotFoundError):
                found = await self._containers.stats(controller.record.container_id)
                if found.read_ns:
                    memory_bytes = max(found.memory_usage_bytes - _droppable_bytes(found), 0)
                    usages[task_id] = TaskUsage(cpu_ns=found.cpu_total_ns, memory_bytes=memory_bytes)
            await asyncio.sleep(0)
        return usages

    def log_marks(self) -> dict[str, Hashable]:
        """For each task whose container has a log on this host: the file and its size."""
        return {
            task_id: mark for task_id, controller in self._controllers.items() if (mark := self._log_mark(controller))
        }

    def _log_mark(self, controller: TaskController) -> tuple[int, int] | None:
        container_id = controller.record.container_id
        try:
            path = self._containers.log_path(container_id) if container_id else None
            found = path.stat() if path is not None else None
        except (CoveyError, OSError):  # the container is gone, or has written nothing
            return None
        return (found.st_ino, found.st_size) if found is not None and found.st_size else None

    def task_logs(self, task_id: str, options: TaskLogOptions) -> AsyncIterator[LogEntry]:
        """The log of a task's container; when following, waits for the container. Raises NotFoundError if there is no such task."""
        controller = self._controllers.get(task_id)
        if controller is None:
            raise NotFoundError(f"No such task on this node: {task_id}")
        return self._log(controller, options)

    def _update_secrets(self, changes: Sequence[AssignmentChange]) -> None:
        for change in changes:
            if isinstance(change.item, Secret | Config):
                self._secrets.put(change.item)
            elif change.item is None and change.kind is AssignmentKind.SECRET:
                self._secrets.drop_secret(change.id)
            elif change.item is None and change.kind is AssignmentKind.CONFIG:
                self._secrets.drop_config(change.id)

    def _update_networks(self, changes: Sequence[AssignmentChange]) -> None:
        """The networks that containers can be connected to."""
        self._endpoints.set_networks(
            [change.item for change in changes if isinstance(change.item, Network)],
            [change.id for change in changes if change.kind is AssignmentKind.NETWORK and change.item is None],
        )

    async def _update_network_driver(self, changes: Sequence[AssignmentChange]) -> None:
        await self._endpoints.apply(changes)
        for failure in await self._networks.apply(network_changes(changes)):
            log.warning("network of %s: %s", failure.network_id, failure.reason)
            self._network_retry_needed.set()

    def _update_tasks(self, changes: Sequence[AssignmentChange]) -> None:
        """Updates the records of all changed tasks in one transaction, and starts controllers for new tasks."""
        changed, new = [], []
        for change in changes:
            controller = self._controllers.get(change.id)
            if isinstance(change.item, Task) and is_attachment(change.item):
                self._endpoints.attachments.assign(change.item)
            elif isinstance(change.item, Task):
                if controller is None:
                    new.append(self._new_record(change.item))
                else:
                    before = controller.record.task.endpoint
                    changed.append(controller.assign(change.item, assigned=True))
                    if controller.record.task.endpoint != before:
                        self._background.spawn(self._publish_again(controller), f"ports of task {change.id}")
            elif change.kind is AssignmentKind.TASK and controller is not None:
                changed.append(controller.assign(controller.record.task, assigned=False))
            elif change.kind is AssignmentKind.TASK:
                self._restore_attachment(self._endpoints.attachments.withdraw(change.id))
        self._database.save_all((*changed, *new))
        for record in new:
            self._start_controller(record)

    async def _publish_again(self, controller: TaskController) -> None:
        """The task's ports have changed: its container publishes others, and goes on."""
        try:
            await self._executor.publish_again(controller.record)
        except CoveyError as error:
            log.warning("task %s: its ports could not be changed: %s", controller.record.task.id, error.message)
            return
        controller.report_ports()

    def _restore_attachment(self, lost: HeldAttachment | None) -> None:
        """Asks again for an address that a running container lost, for example because this node was cut off for long."""
        if lost is None:
            return
        self._background.spawn(self._restore(lost), f"network of {lost.container_id[:12]}")

    async def _restore(self, lost: HeldAttachment) -> None:
        with contextlib.suppress(NotFoundError):  # the container is gone
            container = self._containers.get(lost.container_id)
            if container.state.running and not await self._endpoints.restore(lost, container.config):
                await self._containers.leave_network(container.id, lost.network_id)

    def set_dispatcher(self, stub: Any) -> None:
        """The leader's dispatcher while there is a session; None without one."""
        self._endpoints.attachments.set_dispatcher(stub)

    def _new_record(self, task: Task) -> TaskRecord:
        """The first record of a task. If a container already carries the task's id (the records were lost), it is adopted."""
        existing = [container.id for container in self._containers.list() if container.config.task_id == task.id]
        status = initial_status(task, self._clock())
        return TaskRecord(
            task=task,
            status=status,
            container_id=existing[0] if existing else new_container_id(),
            history=(status.state,),
        )

    def _start_controller(self, record: TaskRecord) -> None:
        controller = TaskController(record, self._executor, self._database.save, self._statuses.put, self._clock)
        self._controllers[record.task.id] = controller
        self._background.spawn(self._run_controller(controller), f"task {record.task.id}")

    async def _run_controller(self, controller: TaskController) -> None:
        await controller.run()
        task_id = controller.record.task.id
        self._database.delete(task_id)
        self._statuses.forget(task_id)
        if self._controllers.get(task_id) is controller:
            del self._controllers[task_id]
        self._task_gone.set()

    async def _adopt_networks(self, records: Sequence[TaskRecord]) -> None:
        """Adopts the network sandboxes of running containers, and of tasks whose container is still to be started."""
        prepared = {record.container_id for record in records if not record.status.state.terminal}
        kept = set()
        for container in self._containers.list():
            is_prepared = container.state.status is RunStatus.CREATED and container.id in prepared
            if container.state.running or is_prepared:
                kept.add(container.id)
                await self._endpoints.adopt(container.config)
        living = {
            container.id
            for container in self._containers.list()
            if container.state.active or container.state.status is RunStatus.CREATED
        }
        for container_id in kept - living:  # its exit was recorded while its sandbox was adopted
            await self._endpoints.release(container_id)
        for container_id in await self._networks.clean_sandboxes(kept & living):
            log.info("removed the network namespace of container %s, which has ended", container_id[:12])

    async def _remove_unassigned(self) -> None:
        """After the first complete set: removes containers, then network namespaces, that belong to no task on record."""
        known = {controller.record.container_id for controller in self._controllers.values()}
        for container in self._containers.list():
            if container.config.task_id and container.id not in known:
                log.info("removing container %s, left over from task %s", container.id[:12], container.config.task_id)
                await self._containers.remove(container.id, force=True, volumes=True)
        for name in await self._networks.clean():
            log.info("removed network namespace %s, which was left over", name)

    async def _watch_containers(self) -> None:
        """Wakes controllers on container events. Controllers observe their container themselves, so a lagged reader just wakes them all."""
        while True:
            with self._containers.subscribe() as events:
                for controller in self._controllers.values():
                    controller.wake()
                try:
                    await self._wake_controllers(events)
                except LaggedError:
                    continue
                return

    async def _wake_controllers(self, events: EventQueue) -> None:
        async for event in events:
            controller = self._controllers.get(event.container.task_id)
            if controller is not None:
                controller.wake()

    async def _retry_networks(self) -> None:
        """Calls the network driver again after a failure: it retries failed changes with every call."""
        while True:
            await self._network_retry_needed.wait()
            await asyncio.sleep(NETWORK_RETRY_SECONDS)
            self._network_retry_needed.clear()
            await self._update_network_driver(())

    async def _log(self, controller: TaskController, options: TaskLogOptions) -> AsyncIterator[LogEntry]:
        record = controller.record
        if self._executor.container(record) is None and options.follow and not record.status.state.terminal:
            await self._wait_for_container(controller)
        if self._executor.container(controller.record) is None:
            return
        async with AsyncExitStack() as stack:
            entries = self._containers.logs(
                controller.record.container_id,
                follow=options.follow,
                tail=options.tail if options.tail >= 0 else None,
                since_ns=options.since_ns,
                until_ns=options.until_ns,
                stdout=options.stdout,
                stderr=options.stderr,
            )
            if isinstance(entries, AsyncGenerator):
                await stack.enter_async_context(aclosing(entries))
            async for entry in entries:
                yield entry

    async def _wait_for_container(self, controller: TaskController) -> None:
        """Waits until the task has a container or has ended without one."""
        with self._containers.subscribe() as events:
            while not controller.finished and controller.record.status.state < TaskState.READY:
                try:
                    async with asyncio.timeout(1.0):
                        await events.get()
                except TimeoutError:
                    continue


def _droppable_bytes(stats: ContainerStats) -> int:
    """The file cache that is not in use, which `docker stats` does not count either."""
    return stats.memory_stats.get("total_inactive_file", stats.memory_stats.get("inactive_file", 0))


def _assigned_tasks(records: Sequence[TaskRecord]) -> list[AssignmentChange]:
    return [
        AssignmentChange(kind=AssignmentKind.TASK, id=record.task.id, item=record.task)
        for record in records
        if record.assigned
    ]
