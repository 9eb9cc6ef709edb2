"""Agent of a host: image store, containers, networks, and the worker that runs the tasks that managers assign.

Invariant: closing the agent stops no container; the next daemon adopts them. Composed by `node`; the Engine API uses its
parts through `engine.interfaces.AgentInterface`.
"""

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from agent.background_tasks import BackgroundTasks
from agent.build.service import BuildService
from agent.container.service import ContainerService
from agent.dns.resolv_conf import host_nameservers
from agent.endpoint.container_networks import EndpointOwner
from agent.endpoint.local_endpoints import LocalEndpoints
from agent.endpoint.published_ports import PublishedPorts
from agent.engine_plugins import engine_plugins
from agent.image.peer.sharing import ImageSharing
from agent.image.registry.registries_config import RegistriesConfig
from agent.image.registry.service import RegistryService
from agent.image.removal import ImageUser
from agent.image.store import ImageStore
from agent.image.task_images import TaskImages
from agent.local_network.networks import LocalNetworks
from agent.network.driver import GATEWAY_BRIDGE, NetworkDriver
from agent.network.model import VXLAN_PORT
from agent.runtime import cgroup
from agent.volume.local import VolumeStore
from agent.worker.worker import Worker
from covey.engine_settings import LiveSettings
from covey.errors import LaggedError
from covey.image_platform import host_architecture
from covey.objects import EngineDescription, Node, NodeDescription, Platform, replace
from covey.placeholders import NodeFacts
from covey.version import engine_version

NANO = 1_000_000_000


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`host_address` is the address by which other nodes reach the host, "" outside a cluster. Tunnels end at `data_path_addr`,
    by default the same, and at `data_path_port`, by default the standard one. Managers learn the labels of `settings`. Predefined
    networks have ids that follow from `engine_id`.
    """

    state_dir: Path
    run_dir: Path
    host_address: str = ""
    data_path_addr: str = ""
    data_path_port: int = 0
    engine_id: str = ""
    settings: LiveSettings = msgspec.field(default_factory=LiveSettings)
    registries: RegistriesConfig = RegistriesConfig()


class Agent:
    """One per daemon."""

    def __init__(self, config: AgentConfig) -> None:
        self.images = ImageStore(config.state_dir, containers_using=self._containers_of)
        self.sharing = ImageSharing(self.images.repository, config.run_dir)
        self.registries = RegistryService(self.images.repository, config.registries)
        self.networks = NetworkDriver(
            config.data_path_addr or config.host_address,
            config.run_dir,
            host_nameservers,
            manages_firewall=lambda: config.settings.current.manage_firewall,
        )
        local_networks = LocalNetworks(
            config.state_dir / "networks.db",
            engine_id=config.engine_id,
            bridge=GATEWAY_BRIDGE,
            pools=config.settings.current.address_pools,
            settings=config.settings.current.default_bridge,
        )
        local_endpoints = LocalEndpoints(local_networks, self.networks, self.networks.reconciler, GATEWAY_BRIDGE)
        self.ports = PublishedPorts(self.networks)
        self.endpoints = EndpointOwner(
            self.networks, local_endpoints, host_nameservers, self.ports.publisher, self.ports.mesh
        )
        self.containers = ContainerService(
            config.state_dir,
            config.run_dir,
            config.settings.current.cgroup_parent,
            self.images,
            self.endpoints,
            settings=config.settings,
        )
        self.builds = BuildService(
            config.state_dir,
            config.run_dir,
            self.images,
            self.registries,
            self.endpoints,
            cgroup_parent=config.settings.current.cgroup_parent,
        )
        self.worker = Worker(
            config.state_dir,
            config.run_dir,
            containers=self.containers,
            images=TaskImages(self.images, self.registries, self.sharing),
            networks=self.networks,
            endpoints=self.endpoints,
            node=self._facts,
        )
        self._settings = config.settings
        self._data_path_addr = config.data_path_addr
        self._tunnel_address = config.data_path_addr or config.host_address
        self.set_data_path_port(config.data_path_port)
        self._node: Node | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong at the moment and does not stop the daemon, for ``docker info``."""
        found = (self.sharing.warning, *self.ports.mesh.warnings)
        return (*self.networks.warnings, *(f"WARNING: {warning}" for warning in found if warning))

    @property
    def volumes(self) -> VolumeStore:
        """The volumes of this host."""
        return self.containers.volumes

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open all parts and adopt running containers; close the parts at the end of the block."""
        async with AsyncExitStack() as stack:
            for start, close in (
                (self.images.start, self.images.close),
                (self.registries.open, self.registries.close),
                (self.networks.start, self.networks.close),
                (self.endpoints.local.open, self.endpoints.local.close),
                (self._start_ports, self.ports.close),
                (self.containers.open, self.containers.close),
                (self.worker.start, self.worker.close),
            ):
                await start()
                stack.push_async_callback(close)
            await self.builds.open()
            self.containers.start_by_policy()
            background = BackgroundTasks("agent")
            await background.open()
            stack.push_async_callback(background.close)
            background.spawn(self._remove_released_images(), "removal of released images")
            background.spawn(self.ports.mesh.retry_periodically(), "retry of ports of the routing mesh")
            yield

    async def _start_ports(self) -> None:
        await self.ports.start(cgroup.detect().hierarchies.get("unified"))
        if (
            self._tunnel_address
        ):  # so that the mesh of the previous daemon is wanted before anything unwanted is removed
            await self._set_mesh_host(self._tunnel_address)

    async def _set_mesh_host(self, address: str) -> None:
        await self.ports.mesh.set_host(
            host=address,
            port=self.networks.tunnel_port,
            mtu=await self.networks.tunnel_mtu(),
            encrypted_mtu=await self.networks.encrypted_tunnel_mtu(),
            no_encryption=self.networks.encryption.refusal,
        )

    async def enter_cluster(self, host_address: str, data_path_addr: str = "") -> None:
        """Set the address by which the nodes of the joined cluster reach this host, and the one for traffic between containers."""
        self._data_path_addr = data_path_addr
        tunnel = data_path_addr or host_address
        await self.networks.set_host_address(tunnel)
        await self._set_mesh_host(tunnel)
        self.endpoints.attachments.is_member = True

    def set_data_path_port(self, port: int) -> None:
        """Set the UDP port for traffic between containers, before the first network of the cluster is built."""
        self.networks.set_tunnel_port(port or VXLAN_PORT)

    async def leave_cluster(self) -> None:
        """End all tasks, and remove their secrets and networks, because the host has left its cluster."""
        self._node = None
        self.endpoints.attachments.is_member = False
        await self.worker.end_all()

    def set_node(self, node: Node) -> None:
        """Set this node's object in the cluster. Templates of tasks use its id and labels."""
        self._node = node

    def describe_host(self) -> NodeDescription:
        """The description that this host sends to the managers."""
        return NodeDescription(
            hostname=socket.gethostname(),
            platform=Platform(architecture=host_architecture(), os="linux"),
            resources=replace(
                self._settings.current.generic_resources,
                nano_cpus=(os.cpu_count() or 1) * NANO,
                memory_bytes=_memory_bytes(),
            ),
            data_path_addr=self._data_path_addr,
            addresses=self.networks.host_addresses,
            routes=self.networks.routes.current,
            wireguard=self.networks.encryption.description,
            agent_addr=self.sharing.addr,
            engine=EngineDescription(
                version=engine_version(), labels=dict(self._settings.current.labels), plugins=engine_plugins()
            ),
        )

    def _facts(self) -> NodeFacts:
        node = self._node
        return NodeFacts(
            id=node.id if node else "",
            hostname=socket.gethostname(),
            architecture=host_architecture(),
            labels=node.spec.annotations.labels if node else {},
        )

    def _containers_of(self, image_id: str) -> Sequence[ImageUser]:
        return [
            ImageUser(container.id, container.state.running)
            for container in self.containers.list()
            if container.config.image_id == image_id
            or any(mount.image_id == image_id for mount in container.config.mounts)
        ]

    async def _remove_released_images(self) -> None:
        """Delete an image that was removed by force, once its last container is gone."""
        lagged = True
        while lagged:
            lagged = False
            with self.containers.subscribe() as events:
                await self.images.remove_released()
                try:
                    async for event in events:
                        if event.action == "destroy":
                            await self.images.remove_released()
                except LaggedError:
                    lagged = True


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
