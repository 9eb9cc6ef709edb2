"""The agent of a host: images, containers, networks and the worker that carries out what managers assign, opened and closed in order.

Law: closing it stops no container; the next life adopts them. Composed by ``node``; the Engine API reads its parts.
"""

import os
import platform
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path

import msgspec

from agent.container.service import ContainerService
from agent.dns.resolv_conf import host_nameservers
from agent.image.store import ImageStore
from agent.network.driver import NetworkDriver
from agent.volume.local import VolumeStore
from agent.worker.worker import Worker
from covey.objects import EngineDescription, Node, NodeDescription, Platform, Resources
from covey.placeholders import NodeFacts

NANO = 1_000_000_000
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``host_address`` is the underlay address of the host's cluster, empty while it is in none. ``labels`` are told to the managers."""

    state_dir: Path
    run_dir: Path
    cgroup_parent: str = "/covey"
    host_address: str = ""
    labels: Mapping[str, str] = {}


class Agent:
    """One per daemon."""

    def __init__(self, config: AgentConfig) -> None:
        self.images = ImageStore(config.state_dir, containers_using=self._containers_of)
        self.containers = ContainerService(config.state_dir, config.run_dir, config.cgroup_parent, self.images)
        self.networks = NetworkDriver(config.host_address, config.run_dir, host_nameservers)
        self.worker = Worker(
            config.state_dir,
            config.run_dir,
            containers=self.containers,
            images=self.images,
            networks=self.networks,
            node=self._facts,
        )
        self._labels = dict(config.labels)
        self._node: Node | None = None

    @property
    def volumes(self) -> VolumeStore:
        """The volumes of this host."""
        return self.containers.volumes

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open everything, adopt what runs, and let go at the end of the block."""
        await self.images.start()
        try:
            await self.containers.open()
            try:
                await self.networks.start()
                try:
                    await self.worker.start()
                    try:
                        yield
                    finally:
                        await self.worker.close()
                finally:
                    await self.networks.close()
            finally:
                await self.containers.close()
        finally:
            await self.images.close()

    async def enter_cluster(self, host_address: str) -> None:
        """The host is in a cluster whose nodes reach it at this address."""
        await self.networks.set_host_address(host_address)

    async def leave_cluster(self) -> None:
        """The host is in no cluster any more: its tasks end, their secrets and networks go."""
        self._node = None
        await self.worker.apply((), complete=True)
        await self.worker.wait_drained()

    def set_node(self, node: Node) -> None:
        """What the cluster says of this node; templates and messages use it."""
        self._node = node

    def describe_host(self) -> NodeDescription:
        """What this host tells the managers of itself."""
        return NodeDescription(
            hostname=socket.gethostname(),
            platform=Platform(architecture=_architecture(), os="linux"),
            resources=Resources(nano_cpus=(os.cpu_count() or 1) * NANO, memory_bytes=_memory_bytes()),
            engine=EngineDescription(version=metadata.version("covey"), labels=self._labels),
        )

    def _facts(self) -> NodeFacts:
        node = self._node
        return NodeFacts(
            id=node.id if node else "",
            hostname=socket.gethostname(),
            architecture=_architecture(),
            labels=node.spec.annotations.labels if node else {},
        )

    def _containers_of(self, image_id: str) -> Sequence[str]:
        return [container.id for container in self.containers.list() if container.config.image_id == image_id]


def _architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
