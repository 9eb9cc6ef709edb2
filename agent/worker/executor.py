"""Carries out what the task machine decided: namespaces, files and containers of one node's tasks.

Each method can be repeated after a crash at any line of it. Called by ``agent.worker.controller``.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping

import msgspec

from agent.container.model import Container, ContainerConfig, HealthStatus, NetworkAttachment, Status
from agent.container.recovery import START_BROKEN
from agent.secret.vault import Vault
from agent.task.machine import Health, Life, Observation, Record
from agent.task.translate import container_config, with_resolver
from agent.worker.ports import Containers, Images, Networks
from agent.worker.surroundings import Wiring, wiring
from covey.clock import Clock
from covey.errors import NotFoundError
from covey.objects import Network
from covey.placeholders import NodeFacts
from covey.states import TaskState

log = logging.getLogger(__name__)

BUSY_LIMIT = 8
_PREPARE_SECONDS = 120
_START_SECONDS = 120
_CLEAN_SECONDS = 60

_replace = msgspec.structs.replace
_HEALTH = {
    HealthStatus.NONE: Health.NONE,
    HealthStatus.STARTING: Health.STARTING,
    HealthStatus.HEALTHY: Health.HEALTHY,
    HealthStatus.UNHEALTHY: Health.UNHEALTHY,
}


class Executor:
    """One per worker. At most ``BUSY_LIMIT`` tasks are prepared or started at a time, so that many do not slow each other down."""

    def __init__(
        self,
        *,
        containers: Containers,
        images: Images,
        networks: Networks,
        vault: Vault,
        node: Callable[[], NodeFacts],
        clock: Clock,
    ) -> None:
        self._containers = containers
        self._images = images
        self._networks = networks
        self._vault = vault
        self._node = node
        self._clock = clock
        self._busy = asyncio.Semaphore(BUSY_LIMIT)
        self.known_networks: Mapping[str, Network] = {}
        self.synchronised = False

    def observe(self, record: Record) -> Observation:
        """What is seen of a task now."""
        container = self.container(record)
        waits_for = ""
        if record.status.state is TaskState.PREPARING and not self.synchronised:
            waits_for = ", ".join(self._vault.missing(record.task))
        if container is None:
            return Observation(waits_for=waits_for)
        state = container.state
        return Observation(
            life=_life(container),
            exit_code=state.exit_code,
            pid=state.pid,
            oom_killed=state.oom_killed,
            error=state.error,
            health=_HEALTH[state.health.status],
            waits_for=waits_for,
        )

    def container(self, record: Record) -> Container | None:
        """The container of a task, if there is one."""
        if not record.container_id:
            return None
        try:
            return self._containers.get(record.container_id)
        except NotFoundError:
            return None

    async def prepare(self, record: Record) -> None:
        """Make all that the task needs, so that starting it is quick. Raises CoveyError saying why it cannot be."""
        async with self._busy, asyncio.timeout(_PREPARE_SECONDS):
            await self._clear(record)
            config = self._config(record)
            plan = wiring(record.task, self.known_networks)
            files = self._vault.write(record.task)
            config = _replace(config, secrets=files.secrets, configs=files.configs)
            if plan.on_host:
                config = _replace(config, netns_path="host", hostname=record.task.spec.container.hostname)
            else:
                config = await self._wire(config, plan)
            await self._containers.create(config)

    async def start(self, record: Record) -> None:
        """Start the prepared container. Raises CoveyError saying why it did not start."""
        async with self._busy, asyncio.timeout(_START_SECONDS):
            await self._containers.start(record.container_id)

    async def stop(self, record: Record) -> None:
        """Stop the container with its own grace."""
        with contextlib.suppress(NotFoundError):
            await self._containers.stop(record.container_id)

    async def release(self, record: Record) -> None:
        """Give back the namespace and the secrets of a task that has ended; its container stays for its logs."""
        async with asyncio.timeout(_CLEAN_SECONDS):
            self._vault.remove(record.task.id)
            if record.container_id:
                await self._networks.destroy_sandbox(record.container_id)

    async def remove(self, record: Record) -> None:
        """Remove everything of the task from this node."""
        if record.container_id:
            async with asyncio.timeout(_CLEAN_SECONDS):
                with contextlib.suppress(NotFoundError):
                    await self._containers.remove(record.container_id, force=True, volumes=True)
        await self.release(record)

    async def adopt(self, record: Record) -> None:
        """After a restart: take over the network of a container that lives on or is still to start. One that ended needs none any more."""
        container = self.container(record)
        if container is None or _life(container) is Life.EXITED:
            return
        plan = wiring(record.task, self.known_networks)
        if not plan.on_host:
            dns = record.task.spec.container.dns
            await self._networks.adopt(
                record.container_id, plan.attachments, nameservers=dns.nameservers if dns else ()
            )

    def _config(self, record: Record) -> ContainerConfig:
        spec = record.task.spec.container
        node = self._node()
        try:
            image = self._images.get(spec.image)
        except NotFoundError as error:
            raise NotFoundError(
                f"{error.message} on node {node.hostname}; bring it there with docker load or docker import (pulling is not there yet)"
            ) from None
        return container_config(record.task, image, node, record.container_id, self._clock())

    async def _wire(self, config: ContainerConfig, plan: Wiring) -> ContainerConfig:
        path = await self._networks.create_sandbox(config.id, nameservers=config.dns)
        attached = []
        for attachment in plan.attachments:
            await self._networks.attach(config.id, attachment)
            address, _, prefix = attachment.address.partition("/")
            network = self.known_networks[attachment.network_id]
            attached.append(
                NetworkAttachment(
                    name=network.spec.annotations.name,
                    network_id=network.id,
                    ip=address,
                    prefix=int(prefix or 32),
                    aliases=attachment.aliases,
                )
            )
        if plan.egress:
            address = await self._networks.attach_egress(config.id, plan.egress, isolated=plan.isolated)
            ip, _, prefix = address.partition("/")
            attached.append(
                NetworkAttachment(name="docker_gwbridge" if attached else "bridge", ip=ip, prefix=int(prefix or 32))
            )
        return _replace(with_resolver(config), netns_path=path, networks=tuple(attached))

    async def _clear(self, record: Record) -> None:
        """What an earlier attempt at this task left half-made."""
        with contextlib.suppress(NotFoundError):
            await self._containers.remove(record.container_id, force=True, volumes=True)
        await self._networks.destroy_sandbox(record.container_id)


def _life(container: Container) -> Life:
    if container.state.running:
        return Life.RUNNING
    # a start that a dying daemon cut short says nothing of the container: it is tried again
    if container.state.status is Status.CREATED and container.state.error in {"", START_BROKEN}:
        return Life.CREATED
    return Life.EXITED
