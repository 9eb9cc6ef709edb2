"""Executor: network namespaces, secret files and containers of this node's tasks.

Invariant: every method can be repeated after a crash at any line of it. Called by ``agent.worker.task_controller``.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

import msgspec

from agent.container.api import ContainerNetworks
from agent.container.model import HOST_NETWORK, Container, ExecConfig, RunStatus
from agent.container.recovery import START_INTERRUPTED
from agent.secret.store import SecretStore
from agent.task.container_config import container_config, mounted_images, port_changes, published_port_configs
from agent.task.state_machine import ContainerPhase, Observation, TaskRecord
from agent.worker.interfaces import ContainersPort, ImagesPort
from covey.clock import SECOND, Clock
from covey.errors import CoveyError, NotFoundError
from covey.objects import Hook
from covey.objects.task import DEFAULT_STOP_GRACE_NS
from covey.placeholders import NodeFacts
from covey.states import TaskState

log = logging.getLogger(__name__)

MAX_CONCURRENT_STARTS = 8
_PULL_SECONDS = 3600
_PREPARE_SECONDS = 120
_START_SECONDS = 120
_CLEAN_SECONDS = 60
POST_START_SECONDS = 300
"""The longest time of one hook after the start."""

_replace = msgspec.structs.replace


class HookError(CoveyError):
    """A hook of a container has failed."""


class Executor:
    """One per worker. At most ``MAX_CONCURRENT_STARTS`` tasks are prepared or started at a time, which keeps them fast."""

    def __init__(
        self,
        *,
        containers: ContainersPort,
        images: ImagesPort,
        endpoints: ContainerNetworks,
        secrets: SecretStore,
        node: Callable[[], NodeFacts],
        clock: Clock,
    ) -> None:
        self._containers = containers
        self._images = images
        self._endpoints = endpoints
        self._secrets = secrets
        self._node = node
        self._clock = clock
        self._start_slots = asyncio.Semaphore(MAX_CONCURRENT_STARTS)
        self.has_complete_set = False

    def observe(self, record: TaskRecord) -> Observation:
        """The current state of a task's container, and what the task still waits for."""
        container = self.container(record)
        waits_for = ""
        if record.status.state is TaskState.PREPARING and not self.has_complete_set:
            waits_for = ", ".join(self._secrets.missing_for(record.task))
        if container is None:
            return Observation(waits_for=waits_for)
        state = container.state
        return Observation(
            phase=_phase(container),
            exit_code=state.exit_code,
            pid=state.pid,
            oom_killed=state.oom_killed,
            error=state.error,
            health=state.health.status,
            health_output=next((probe.output for probe in reversed(state.health.log) if probe.exit_code), ""),
            waits_for=waits_for,
            ports=published_port_configs(container.config, record.task),
        )

    def container(self, record: TaskRecord) -> Container | None:
        """The container of a task; None if there is none."""
        if not record.container_id:
            return None
        try:
            return self._containers.get(record.container_id)
        except NotFoundError:
            return None

    async def prepare(self, record: TaskRecord) -> None:
        """Creates everything the task needs, so that starting it is quick. Raises CoveyError with the reason if that fails."""
        async with asyncio.timeout(_PULL_SECONDS):
            spec = record.task.spec.container
            image = await self._images.ensure(spec.image, spec.registry_auth)
            for mounted in mounted_images(record.task, self._node()):
                await self._images.ensure(mounted, spec.registry_auth)
        async with self._start_slots, asyncio.timeout(_PREPARE_SECONDS):
            await self._remove_leftovers(record)
            config = container_config(record.task, image, self._node(), record.container_id, self._clock())
            files = self._secrets.write_task_files(record.task, self._node())
            config = _replace(config, secrets=files.secrets, configs=files.configs)
            connection = await self._endpoints.connect(config)
            if connection.netns_path == HOST_NETWORK:
                config = _replace(config, hostname=record.task.spec.container.hostname)
            await self._containers.create(
                _replace(
                    config,
                    netns_path=connection.netns_path,
                    networks=connection.endpoints,
                    resolver=connection.resolver,
                    published=connection.published,
                )
            )

    async def start(self, record: TaskRecord) -> None:
        """Starts the prepared container. Raises CoveyError with the reason if it does not start."""
        async with self._start_slots, asyncio.timeout(_START_SECONDS):
            await self._containers.start(record.container_id)

    async def publish_again(self, record: TaskRecord) -> None:
        """Publishes the ports that the task has now. Nothing happens before it has a container."""
        container = self.container(record)
        if container is not None and not record.should_end:
            await self._containers.publish_ports(container.id, port_changes(record.task))

    async def run_post_start(self, record: TaskRecord) -> None:
        """Runs the hooks after the start. Raises HookError for the first that fails."""
        await self._run_hooks(record, "post-start", record.task.spec.container.post_start, POST_START_SECONDS)

    async def run_pre_stop(self, record: TaskRecord) -> None:
        """Runs the hooks before the stop, together for no longer than the container's grace period. One that fails is logged."""
        spec = record.task.spec.container
        grace_ns = DEFAULT_STOP_GRACE_NS if spec.stop_grace_ns is None else spec.stop_grace_ns
        try:
            async with asyncio.timeout(grace_ns / SECOND):
                await self._run_hooks(record, "pre-stop", spec.pre_stop, grace_ns / SECOND)
        except (CoveyError, TimeoutError) as error:
            log.warning(
                "task %s: %s", record.task.id, error or "the pre-stop hooks took longer than the stop's grace period"
            )

    async def _run_hooks(self, record: TaskRecord, moment: str, hooks: Sequence[Hook], timeout_seconds: float) -> None:
        for hook in hooks:
            config = ExecConfig(args=hook.command, user=hook.user, working_dir=hook.dir, env=hook.env)
            ended = await self._containers.run_hook(record.container_id, config, timeout_seconds)
            if ended.exit_code:
                output = ended.output.strip().splitlines()
                raise HookError(
                    f"{moment} hook exited with status {ended.exit_code}: {' '.join(hook.command)}"
                    f"{': ' + output[-1] if output else ''}"
                )

    async def stop(self, record: TaskRecord) -> None:
        """Stops the container with its own grace period."""
        with contextlib.suppress(NotFoundError):
            await self._containers.stop(record.container_id)

    async def release(self, record: TaskRecord) -> None:
        """Frees the network sandbox and the secrets of a task that has ended. Its container stays for its logs."""
        async with asyncio.timeout(_CLEAN_SECONDS):
            self._secrets.remove_task_files(record.task.id)
            container = self.container(record)
            if record.container_id and (container is None or not container.state.running):
                await self._endpoints.release(record.container_id)

    async def remove(self, record: TaskRecord) -> None:
        """Removes everything of the task from this node."""
        if record.container_id:
            async with asyncio.timeout(_CLEAN_SECONDS):
                with contextlib.suppress(NotFoundError):
                    await self._containers.remove(record.container_id, force=True, volumes=True)
        await self.release(record)

    async def _remove_leftovers(self, record: TaskRecord) -> None:
        """Removes what an earlier, unfinished attempt to prepare this task left."""
        with contextlib.suppress(NotFoundError):
            await self._containers.remove(record.container_id, force=True, volumes=True)
        await self._endpoints.release(record.container_id)


def _phase(container: Container) -> ContainerPhase:
    if container.state.running:
        return ContainerPhase.RUNNING
    # A start that was interrupted by the end of the daemon says nothing about the container: it is repeated.
    if container.state.status is RunStatus.CREATED and container.state.error in {"", START_INTERRUPTED}:
        return ContainerPhase.CREATED
    return ContainerPhase.EXITED
