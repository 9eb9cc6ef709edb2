"""Worker of a node: takes over assignments, runs a controller for each task, and reports task statuses.

``apply`` returns once the assignments are saved, not once they are carried out. ``agent.agent`` opens the containers, images and networks
before the worker and closes them after it. Closing the worker stops no container.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

from agent.background_tasks import BackgroundTasks
from agent.container.api import EventQueue
from agent.logs.entry import LogEntry
from agent.secret.store import SecretStore
from agent.session.ports import TaskLogOptions
from agent.task.state_machine import TaskRecord, initial_status
from agent.worker.database import WorkerDatabase
from agent.worker.executor import Executor
from agent.worker.network_config import network_changes
from agent.worker.ports import ContainersPort, ImagesPort, NetworksPort
from agent.worker.reporter import Reporter
from agent.worker.task_controller import TaskController
from covey.clock import Clock, wall_clock
from covey.errors import CoveyError, DeadlineError, LaggedError, NotFoundError
from covey.ids import new_container_id
from covey.objects import Config, Network, Secret, Task
from covey.objects.assignment import AssignmentChange, AssignmentKind
from covey.placeholders import NodeFacts
from covey.states import TaskState

log = logging.getLogger(__name__)

NETWORK_RETRY_SECONDS = 2.0
DRAIN_SECONDS = 60


class Worker:
    """Give it ``STATE/worker.db`` by its folder, the run folder for secrets, and its neighbours. ``node`` is asked anew each time."""

    def __init__(
        self,
        state_dir: Path,
        run_dir: Path,
        *,
        containers: ContainersPort,
        images: ImagesPort,
        networks: NetworksPort,
        node: Callable[[], NodeFacts],
        clock: Clock = wall_clock,
    ) -> None:
        self._containers = containers
        self._networks = networks
        self._clock = clock
        self._records = WorkerDatabase(Path(state_dir) / "worker.db")
        self._vault = SecretStore(run_dir)
        self._executor = Executor(
            containers=containers, images=images, networks=networks, vault=self._vault, node=node, clock=clock
        )
        self._reporter = Reporter()
        self._controllers: dict[str, TaskController] = {}
        self._assigned_networks: dict[str, Network] = {}
        self._nursery = BackgroundTasks("worker")
        self._applying = asyncio.Lock()
        self._network_retry_needed = asyncio.Event()
        self._task_gone = asyncio.Event()

    async def start(self) -> None:
        """Take up what an earlier life left: adopt containers, report what became of them, go on with the rest."""
        self._records.open()
        self._vault.open()
        surroundings = self._records.network_objects()
        self._update_assigned_networks(surroundings, complete=True)
        await self._update_network_driver(surroundings, complete=False)
        records = self._records.tasks()
        self._vault.remove_orphaned_files({record.task.id for record in records if not record.status.state.terminal})
        await self._nursery.open()
        self._nursery.spawn(self._watch_containers(), "container events")
        self._nursery.spawn(self._retry_networks(), "network retries")
        for record in records:
            await self._adopt(record)
            self._reporter.report(record.task.id, record.status)
            self._start_controller(record)

    async def close(self) -> None:
        """Let go. Containers and the record of them stay."""
        await self._nursery.close()
        self._controllers.clear()
        self._records.close()

    @property
    def statuses(self) -> Reporter:
        """Every change of a task's status, the latest of each task; after a start, that of every task on record."""
        return self._reporter

    def records(self) -> tuple[TaskRecord, ...]:
        """What the worker knows of each of its tasks, by id."""
        return tuple(self._controllers[task_id].record for task_id in sorted(self._controllers))

    async def apply(self, changes: Sequence[AssignmentChange], *, complete: bool) -> None:
        """Take over an assignment set, or a difference. Secrets and networks first, so that tasks find them."""
        async with self._applying:
            self._update_secrets(changes, complete=complete)
            self._records.save_network_objects(changes, complete=complete)
            self._update_assigned_networks(changes, complete=complete)
            await self._update_network_driver(changes, complete=complete)
            self._update_tasks(changes, complete=complete)
            if complete and not self._executor.has_complete_set:
                self._executor.has_complete_set = True
                await self._remove_unassigned()
            for controller in self._controllers.values():
                controller.wake()

    async def wait_drained(self) -> None:
        """Wait until no task is left, after an empty complete set: containers are gone, records too.

        Raises:
            DeadlineError: tasks are left after a minute.
        """
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._controllers:
                    self._task_gone.clear()
                    await self._task_gone.wait()
        except TimeoutError:
            raise DeadlineError(f"{len(self._controllers)} tasks did not end within {DRAIN_SECONDS} s") from None

    def task_logs(self, task_id: str, options: TaskLogOptions) -> AsyncIterator[LogEntry]:
        """The log of a task's container; of one that has none yet, when following, once it has. NotFoundError: no such task."""
        controller = self._controllers.get(task_id)
        if controller is None:
            raise NotFoundError(f"No such task on this node: {task_id}")
        return self._log(controller, options)

    def _update_secrets(self, changes: Sequence[AssignmentChange], *, complete: bool) -> None:
        for change in changes:
            if isinstance(change.item, Secret | Config):
                self._vault.put(change.item)
            elif change.item is None and change.kind is AssignmentKind.SECRET:
                self._vault.drop_secret(change.id)
            elif change.item is None and change.kind is AssignmentKind.CONFIG:
                self._vault.drop_config(change.id)
        if complete:
            named = {
                kind: {c.id for c in changes if c.kind is kind and c.item}
                for kind in (AssignmentKind.SECRET, AssignmentKind.CONFIG)
            }
            self._vault.keep_only(named[AssignmentKind.SECRET], named[AssignmentKind.CONFIG])

    def _update_assigned_networks(self, changes: Sequence[AssignmentChange], *, complete: bool) -> None:
        """What the executor asks for when it wires a container."""
        if complete:
            self._assigned_networks.clear()
        for change in changes:
            if isinstance(change.item, Network):
                self._assigned_networks[change.id] = change.item
            elif change.kind is AssignmentKind.NETWORK:
                self._assigned_networks.pop(change.id, None)
        self._executor.assigned_networks = self._assigned_networks

    async def _update_network_driver(self, changes: Sequence[AssignmentChange], *, complete: bool) -> None:
        wanted = network_changes(changes, complete=complete)
        for failure in await self._networks.apply(wanted):
            log.warning("network of %s: %s", failure.network_id, failure.reason)
            self._network_retry_needed.set()

    def _update_tasks(self, changes: Sequence[AssignmentChange], *, complete: bool) -> None:
        """Bring the records to what is assigned, in one transaction, then let the controllers look."""
        tasks = {change.id: change.item for change in changes if isinstance(change.item, Task)}
        gone = {change.id for change in changes if change.kind is AssignmentKind.TASK and change.item is None}
        if complete:
            gone |= self._controllers.keys() - tasks.keys()
        changed = [
            self._controllers[task_id].assign(task, assigned=True)
            for task_id, task in tasks.items()
            if task_id in self._controllers
        ]
        for task_id in sorted(gone & self._controllers.keys()):
            controller = self._controllers[task_id]
            changed.append(controller.assign(controller.record.task, assigned=False))
        new = [self._new_record(task) for task_id, task in tasks.items() if task_id not in self._controllers]
        self._records.save_all((*changed, *new))
        for record in new:
            self._start_controller(record)

    def _new_record(self, task: Task) -> TaskRecord:
        """A record for a task; a container that carries its id already (the records were lost) is taken over with it."""
        found = [container.id for container in self._containers.list() if container.config.task_id == task.id]
        status = initial_status(task, self._clock())
        return TaskRecord(
            task=task, status=status, container_id=found[0] if found else new_container_id(), history=(status.state,)
        )

    def _start_controller(self, record: TaskRecord) -> None:
        controller = TaskController(record, self._executor, self._records.save, self._reporter.report, self._clock)
        self._controllers[record.task.id] = controller
        self._nursery.spawn(self._run_controller(controller), f"task {record.task.id}")

    async def _run_controller(self, controller: TaskController) -> None:
        await controller.run()
        task_id = controller.record.task.id
        self._records.delete(task_id)
        self._reporter.forget(task_id)
        if self._controllers.get(task_id) is controller:
            del self._controllers[task_id]
        self._task_gone.set()

    async def _adopt(self, record: TaskRecord) -> None:
        if record.status.state.terminal:
            return
        try:
            await self._executor.adopt(record)
        except CoveyError as error:
            log.warning("task %s: its network could not be taken over: %s", record.task.id, error)

    async def _remove_unassigned(self) -> None:
        """After the first complete set: what belongs to tasks that nobody names goes, containers first."""
        known = {controller.record.container_id for controller in self._controllers.values()}
        for container in self._containers.list():
            if container.config.task_id and container.id not in known:
                log.info(
                    "container %s is left over from task %s: removing it", container.id[:12], container.config.task_id
                )
                await self._containers.remove(container.id, force=True, volumes=True)
        for name in await self._networks.clean():
            log.info("network namespace %s was left over: removed", name)

    async def _watch_containers(self) -> None:
        """Events only wake controllers; what happened they see for themselves. So a lagging reader just wakes them all."""
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
        """What the driver could not do it tries again with the next call; make one, if none comes by itself."""
        while True:
            await self._network_retry_needed.wait()
            await asyncio.sleep(NETWORK_RETRY_SECONDS)
            self._network_retry_needed.clear()
            await self._update_network_driver((), complete=False)

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
        """Until the task has a container or has ended without one."""
        with self._containers.subscribe() as events:
            while not controller.finished and controller.record.status.state < TaskState.READY:
                try:
                    async with asyncio.timeout(1.0):
                        await events.get()
                except TimeoutError:
                    continue
