"""Owner of the network sandboxes of all containers on this host, tasks and single containers alike.

Invariant: every method can be repeated after a crash at any line of it. Invariant: a container has a sandbox from `connect` to
`release`; `adopt` takes over the one that the previous daemon left. `EndpointOwner` implements
`agent.container.api.ContainerNetworks`; the worker tells it the networks of the cluster that this node may use.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from agent.container.model import (
    HOST_NETWORK,
    ContainerConfig,
    EndpointSettings,
    NetworkConnection,
    NetworkRequest,
)
from agent.endpoint.attachments import Attachments, HeldAttachment
from agent.endpoint.container_endpoints import (
    granted_request,
    held_attachment,
    host_gateway,
    is_local,
    needs_resolver,
    overlay_attachments,
    overlay_endpoint,
)
from agent.endpoint.container_ports import ContainerPorts
from agent.endpoint.local_endpoints import LocalEndpoints
from agent.endpoint.plan import (
    NODE_DRIVERS,
    InterfacePlan,
    PlannedInterface,
    interface_name,
    leads_out,
    network_name,
    plan_interfaces,
)
from agent.endpoint.port_publisher import PortPublisher
from agent.endpoint.routing_mesh import RoutingMesh
from agent.endpoint.sandbox_driver import SandboxDriver
from agent.local_network.model import GATEWAY, LocalNetwork
from agent.network.model import Attachment
from covey.errors import CoveyError
from covey.objects import Network
from covey.objects.assignment import AssignmentChange

log = logging.getLogger(__name__)

RESOLVER_ADDRESS = "127.0.0.11"
LOOPBACK = "127.0.0.1"


class EndpointOwner:
    """One per daemon. ``host_nameservers`` returns the host's nameservers each time it is called. ``ports`` publishes ports of
    containers, ``mesh`` those of services.
    """

    def __init__(
        self,
        driver: SandboxDriver,
        local: LocalEndpoints,
        host_nameservers: Callable[[], Sequence[str]],
        ports: PortPublisher | None = None,
        mesh: RoutingMesh | None = None,
    ) -> None:
        self.attachments = Attachments()
        self.local = local
        self._ports = ContainerPorts(local, ports, mesh)
        self._mesh = mesh
        self._driver = driver
        self._host_nameservers = host_nameservers
        self._networks: dict[str, Network] = {}
        self._connections: dict[str, NetworkConnection] = {}

    def set_networks(self, networks: Iterable[Network], removed_ids: Iterable[str] = ()) -> None:
        """Record networks of the cluster that the managers assigned to this node, and those that they withdrew."""
        for network_id in removed_ids:
            self._networks.pop(network_id, None)
        self._networks.update((network.id, network) for network in networks)

    async def apply(self, changes: Sequence[AssignmentChange]) -> None:
        """Take over assignments: what this node answers for as a part of the routing mesh."""
        if self._mesh is not None:
            await self._mesh.apply(changes)

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks of the cluster that this node knows, because its containers use them."""
        return tuple(self._networks.values())

    async def connect(self, config: ContainerConfig) -> NetworkConnection:
        """Create the container's sandbox with its interfaces, if they do not exist yet."""
        known = self._connections.get(config.id)
        if known is not None:
            return known
        with_addresses = await self._with_addresses(config)
        for request in with_addresses.requested_networks:
            await self._part_of(self._networks.get(request.network))
        plan = plan_interfaces(with_addresses, self._networks, self.local.networks.find)
        if plan.on_host:
            return NetworkConnection(netns_path=HOST_NETWORK, host_gateway=LOOPBACK)
        if plan.loopback_only:
            return NetworkConnection()
        try:
            connection = await self._published(config, await self._create(config, plan))
        except BaseException:
            await asyncio.shield(self.release(config.id))
            raise
        self._connections[config.id] = connection
        return connection

    async def release(self, container_id: str) -> None:
        """Remove the container's sandbox, if it has one."""
        self._connections.pop(container_id, None)
        self.attachments.release(container_id)
        await self._ports.withdraw(container_id)
        await self.local.detach_all(container_id)
        await self._driver.destroy_sandbox(container_id)

    async def adopt(self, config: ContainerConfig) -> None:
        """After a restart of the daemon: take over the sandbox of a container that runs or is prepared."""
        if config.netns_path in {"", HOST_NETWORK} or config.network_mode.startswith("container:"):
            return
        try:
            path = await self._driver.adopt(config.id, overlay_attachments(config), nameservers=config.dns)
        except CoveyError as error:
            log.warning("container %s: its network could not be adopted: %s", config.id[:12], error)
            return
        for item in config.networks if not config.task_id else ():
            if item.network_id and not is_local(item):
                self.attachments.hold(held_attachment(config.id, item))
        try:
            await self.local.adopt(config, [item for item in config.networks if is_local(item)])
            await self.local.settle(config, config.networks)
        except CoveyError as error:  # what stays wanted is tried again; a container that ended meanwhile is released
            log.warning("container %s: its networks could not be settled: %s", config.id[:12], error)
        connection = self._remember(config, config.networks, netns_path=path)
        try:
            await self._published(config, connection)
        except CoveyError as error:
            log.warning("container %s: its ports could not be published again: %s", config.name, error.message)

    async def join(self, config: ContainerConfig, request: NetworkRequest) -> NetworkConnection:
        """Connect a running container to one more network."""
        local = self.local.networks.find(network_name(request.network))
        if local is not None:
            self.local.check_request(local, request)
            name = interface_name(request, local, [item.interface for item in config.networks])
            endpoint = await self.local.attach(config, local, request, name)
        else:
            held = await self.attachments.attach(config, request)
            part = await self._part_of(self._networks.get(held.network_id))
            name = interface_name(request, part, [item.interface for item in config.networks])
            if part is not None:
                endpoint = await self.local.attach(config, part, request, name)
                return await self._settled(config, (*config.networks, endpoint))
            attachment = Attachment(held.network_id, held.address, name, request.aliases, held.address6, held.mac)
            try:
                await self._driver.attach(config.id, attachment)
            except BaseException:
                self.attachments.release(config.id, held.network_id)
                raise
            endpoint = overlay_endpoint(config, attachment, request, self._networks[attachment.network_id])
        return await self._settled(config, (*config.networks, endpoint))

    async def _part_of(self, network: Network | None) -> LocalNetwork | None:
        """This node's part of a network of the cluster, if its driver works on each node by itself."""
        if network is None or network.spec.driver.name not in NODE_DRIVERS:
            return None
        return await self.local.part_of(network, time.time_ns())

    async def leave(self, config: ContainerConfig, endpoint: EndpointSettings) -> NetworkConnection:
        """Disconnect a running container from one of its networks. Overlay networks keep a way out."""
        endpoints = tuple(item for item in config.networks if item != endpoint)
        if is_local(endpoint):
            await self.local.detach(config.id, endpoint.network_id)
        else:
            await self._driver.detach(config.id, endpoint.network_id)
        self.attachments.release(config.id, endpoint.network_id)
        return await self._settled(config, endpoints)

    async def publish(self, config: ContainerConfig) -> NetworkConnection:
        """Publish what a running container's configuration says now, in place of what it had."""
        return await self._settled(config, config.networks)

    async def renamed(self, config: ContainerConfig) -> None:
        """A running container has a new name, by which others find it."""
        if config.id in self._connections:
            await self.local.settle(config, config.networks)

    async def restore(self, lost: HeldAttachment, config: ContainerConfig) -> bool:
        """Ask for the address that the managers withdrew from a running container. Returns False if it must leave the network."""
        endpoint = next((item for item in config.networks if item.network_id == lost.network_id), None)
        if endpoint is None:
            return True
        request = NetworkRequest(
            network=lost.network_id, ip=endpoint.ip, ip6=endpoint.ip6, mac=endpoint.mac, aliases=endpoint.aliases
        )
        try:
            await self.attachments.attach(config, request)
        except CoveyError as error:
            log.warning("container %s leaves network %s: %s", config.name, endpoint.name, error)
            return False
        return True

    async def _settled(self, config: ContainerConfig, endpoints: tuple[EndpointSettings, ...]) -> NetworkConnection:
        """The connection of a running container with these endpoints, with or without the way out that overlay networks need."""
        gateway = next((item for item in endpoints if item.name == GATEWAY), None)
        # A task without networks that the mesh leads to no more keeps its way out, which the bridge is to others.
        is_only_one = bool(config.task_id) and endpoints == (gateway,)
        needed = is_only_one or self._needs_gateway(config, endpoints)
        if gateway is not None and not needed:
            await self.local.detach(config.id, gateway.network_id)
            endpoints = tuple(item for item in endpoints if item is not gateway)
        if gateway is None and needed:
            name = interface_name(None, None, [item.interface for item in endpoints])
            endpoints = (*endpoints, await self._attach_gateway(config, name))
        await self.local.settle(config, endpoints)
        return await self._published(config, self._remember(config, endpoints))

    def _needs_gateway(self, config: ContainerConfig, endpoints: Iterable[EndpointSettings]) -> bool:
        """Whether one of the overlay networks lets its containers out, or the mesh leads to it, and no network of the host does."""
        open_ids = {network.id for network in self.networks if not network.spec.internal}
        own = [self.local.networks.find(item.network_id) for item in endpoints if item.name != GATEWAY]
        if any(network is not None and leads_out(network) for network in own):
            return False
        return config.in_mesh or any(item.network_id in open_ids for item in endpoints)

    def _remember(
        self, config: ContainerConfig, endpoints: tuple[EndpointSettings, ...], *, netns_path: str = ""
    ) -> NetworkConnection:
        connection = NetworkConnection(
            netns_path=netns_path or config.netns_path,
            endpoints=endpoints,
            resolver=RESOLVER_ADDRESS if needs_resolver(config, endpoints, self._host_nameservers()) else "",
            host_gateway=host_gateway(endpoints),
            published=config.published,
        )
        self._connections[config.id] = connection
        return connection

    async def _published(self, config: ContainerConfig, connection: NetworkConnection) -> NetworkConnection:
        """Publish the container's ports. Raises PortInUseError in Docker's words."""
        published = await self._ports.publish(config, connection)
        if published.published:
            self._connections[config.id] = published
        return published

    async def _with_addresses(self, config: ContainerConfig) -> ContainerConfig:
        """The configuration of a single container with an address for each network of the cluster that it asks for."""
        if config.task_id or config.network_disabled:
            return config
        requests = []
        try:
            for request in config.requested_networks:
                local = self.local.networks.find(network_name(request.network))
                if local is not None:
                    self.local.check_request(local, request)
                    requests.append(request)
                    continue
                held = await self.attachments.attach(config, request)
                requests.append(granted_request(request, held))
        except BaseException:
            self.attachments.release(config.id)
            raise
        return msgspec.structs.replace(config, requested_networks=tuple(requests))

    async def _create(self, config: ContainerConfig, plan: InterfacePlan) -> NetworkConnection:
        path = await self._driver.create_sandbox(config.id, nameservers=config.dns)
        endpoints = [await self._attach(config, interface) for interface in plan.interfaces]
        if plan.gateway:
            endpoints.append(await self._attach_gateway(config, plan.gateway))
        await self.local.settle(config, tuple(endpoints))
        return self._remember(config, tuple(endpoints), netns_path=path)

    async def _attach(self, config: ContainerConfig, planned: PlannedInterface) -> EndpointSettings:
        if planned.local is not None:
            return await self.local.attach(config, planned.local, planned.request, planned.name)
        assert planned.attachment is not None  # noqa: S101 (the plan names one of the two)
        await self._driver.attach(config.id, planned.attachment)
        return overlay_endpoint(
            config, planned.attachment, planned.request, self._networks[planned.attachment.network_id]
        )

    async def _attach_gateway(self, config: ContainerConfig, interface: str) -> EndpointSettings:
        network = await self.local.gateway_network(time.time_ns())
        return await self.local.attach(config, network, NetworkRequest(network=GATEWAY), interface)
