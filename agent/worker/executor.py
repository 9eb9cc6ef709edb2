"""Executor: network namespaces, secret files and containers of this node's tasks.

Invariant: every method can be repeated after a crash at any line of it. Called by ``agent.worker.task_controller``.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

import msgspec

from agent.container.model import Container, ContainerConfig, EndpointSettings, HealthStatus, RunStatus
from agent.container.recovery import START_INTERRUPTED
from agent.secret.store import SecretStore
from agent.task.container_config import container_config, with_resolver
from agent.task.state_machine import ContainerHealth, ContainerPhase, Observation, TaskRecord
from agent.worker.network_config import InterfacePlan, plan_interfaces
from agent.worker.ports import ContainersPort, ImagesPort, NetworksPort
from covey.clock import Clock
from covey.errors import NotFoundError
from covey.objects import Network
from covey.placeholders import NodeFacts
from covey.states import TaskState

log = logging.getLogger(__name__)

MAX_CONCURRENT_STARTS = 8
_PREPARE_SECONDS = 120
_START_SECONDS = 120
_CLEAN_SECONDS = 60

_replace = msgspec.structs.replace
_HEALTH = {
    HealthStatus.NONE: ContainerHealth.NONE,
    HealthStatus.STARTING: ContainerHealth.STARTING,
    HealthStatus.HEALTHY: ContainerHealth.HEALTHY,
    HealthStatus.UNHEALTHY: ContainerHealth.UNHEALTHY,
}


class Executor:
    """One per worker. At most ``MAX_CONCURRENT_STARTS`` tasks are prepared or started at a time, which keeps them fast."""

    def __init__(
        self,
        *,
        containers: ContainersPort,
        images: ImagesPort,
        networks: NetworksPort,
        vault: SecretStore,
        node: Callable[[], NodeFacts],
        clock: Clock,
    ) -> None:
        self._containers = containers
        self._images = images
        self._networks = networks
        self._vault = vault
        self._node = node
        self._clock = clock
        self._start_slots = asyncio.Semaphore(MAX_CONCURRENT_STARTS)
        self.assigned_networks: dict[str, Network] = {}
        self.has_complete_set = False

    def observe(self, record: TaskRecord) -> Observation:
        """What is seen of a task now."""
        container = self.container(record)
        waits_for = ""
        if record.status.state is TaskState.PREPARING and not self.has_complete_set:
            waits_for = ", ".join(self._vault.missing_for(record.task))
        if container is None:
            return Observation(waits_for=waits_for)
        state = container.state
        return Observation(
            phase=_phase(container),
            exit_code=state.exit_code,
            pid=state.pid,
            oom_killed=state.oom_killed,
            error=state.error,
            health=_HEALTH[state.health.status],
            waits_for=waits_for,
        )

    def container(self, record: TaskRecord) -> Container | None:
        """The container of a task, if there is one."""
        if not record.container_id:
            return None
        try:
            return self._containers.get(record.container_id)
        except NotFoundError:
            return None

    async def prepare(self, record: TaskRecord) -> None:
        """Make all that the task needs, so that starting it is quick. Raises CoveyError saying why it cannot be."""
        async with self._start_slots, asyncio.timeout(_PREPARE_SECONDS):
            await self._remove_leftovers(record)
            config = self._config(record)
            plan = plan_interfaces(record.task, self.assigned_networks)
            files = self._vault.write_task_files(record.task)
            config = _replace(config, secrets=files.secrets, configs=files.configs)
            if plan.on_host:
                config = _replace(config, netns_path="host", hostname=record.task.spec.container.hostname)
            else:
                config = await self._attach_networks(config, plan)
            await self._containers.create(config)

    async def start(self, record: TaskRecord) -> None:
        """Start the prepared container. Raises CoveyError saying why it did not start."""
        async with self._start_slots, asyncio.timeout(_START_SECONDS):
            await self._containers.start(record.container_id)

    async def stop(self, record: TaskRecord) -> None:
        """Stop the container with its own grace."""
        with contextlib.suppress(NotFoundError):
            await self._containers.stop(record.container_id)

    async def release(self, record: TaskRecord) -> None:
        """Give back the namespace and the secrets of a task that has ended; its container stays for its logs."""
        async with asyncio.timeout(_CLEAN_SECONDS):
            self._vault.remove_task_files(record.task.id)
            if record.container_id:
                await self._networks.destroy_sandbox(record.container_id)

    async def remove(self, record: TaskRecord) -> None:
        """Remove everything of the task from this node."""
        if record.container_id:
            async with asyncio.timeout(_CLEAN_SECONDS):
                with contextlib.suppress(NotFoundError):
                    await self._containers.remove(record.container_id, force=True, volumes=True)
        await self.release(record)

    async def adopt(self, record: TaskRecord) -> None:
        """After a restart: take over the network of a container that lives on or is still to start. One that ended needs none any more."""
        container = self.container(record)
        if container is None or _phase(container) is ContainerPhase.EXITED:
            return
        plan = plan_interfaces(record.task, self.assigned_networks)
        if not plan.on_host:
            dns = record.task.spec.container.dns
            await self._networks.adopt(
                record.container_id, plan.attachments, nameservers=dns.nameservers if dns else ()
            )

    def _config(self, record: TaskRecord) -> ContainerConfig:
        spec = record.task.spec.container
        node = self._node()
        try:
            image = self._images.get(spec.image)
        except NotFoundError as error:
            raise NotFoundError(
                f"{error.message} on node {node.hostname}; bring it there with docker load or docker import (pulling is not there yet)"
            ) from None
        return container_config(record.task, image, node, record.container_id, self._clock())

    async def _attach_networks(self, config: ContainerConfig, plan: InterfacePlan) -> ContainerConfig:
        path = await self._networks.create_sandbox(config.id, nameservers=config.dns)
        attached = []
        for attachment in plan.attachments:
            await self._networks.attach(config.id, attachment)
            address, _, prefix = attachment.address.partition("/")
            network = self.assigned_networks[attachment.network_id]
            attached.append(
                EndpointSettings(
                    name=network.spec.annotations.name,
                    network_id=network.id,
                    ip=address,
                    prefix=int(prefix or 32),
                    aliases=attachment.aliases,
                )
            )
        if plan.egress:
            address = await self._networks.attach_outbound(config.id, plan.egress, isolated=plan.isolated)
            ip, _, prefix = address.partition("/")
            attached.append(
                EndpointSettings(name="docker_gwbridge" if attached else "bridge", ip=ip, prefix=int(prefix or 32))
            )
        return _replace(with_resolver(config), netns_path=path, networks=tuple(attached))

    async def _remove_leftovers(self, record: TaskRecord) -> None:
        """What an earlier attempt at this task left half-made."""
        with contextlib.suppress(NotFoundError):
            await self._containers.remove(record.container_id, force=True, volumes=True)
        await self._networks.destroy_sandbox(record.container_id)


def _phase(container: Container) -> ContainerPhase:
    if container.state.running:
        return ContainerPhase.RUNNING
    # a start that a dying daemon cut short says nothing of the container: it is tried again
    if container.state.status is RunStatus.CREATED and container.state.error in {"", START_INTERRUPTED}:
        return ContainerPhase.CREATED
    return ContainerPhase.EXITED
