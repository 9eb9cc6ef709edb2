"""Owner of the network sandboxes of all containers on this host, tasks and single containers alike.

Invariant: every method can be repeated after a crash at any line of it. Invariant: a container has a sandbox from `connect` to
`release`; `adopt` takes over the one that the previous daemon left. `EndpointOwner` implements
`agent.container.api.ContainerNetworks`; the worker tells it the networks of the cluster that this node may use.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Protocol

import msgspec

from agent.container.model import (
    HOST_NETWORK,
    ContainerConfig,
    EndpointSettings,
    NetworkConnection,
    NetworkRequest,
)
from agent.endpoint.attachments import Attachments, HeldAttachment
from agent.endpoint.plan import BRIDGE, PREDEFINED, PREDEFINED_BRIDGE, InterfacePlan, plan_interfaces
from agent.network.model import Attachment, BridgeEndpoint, mac_address
from covey.errors import CoveyError, InvalidArgumentError
from covey.ids import endpoint_id
from covey.objects import Network

log = logging.getLogger(__name__)

RESOLVER_ADDRESS = "127.0.0.11"
LOOPBACK = "127.0.0.1"
GATEWAY_NETWORK = "docker_gwbridge"


class SandboxDriver(Protocol):
    """The part of ``agent.network.driver.NetworkDriver`` that containers need."""

    async def create_sandbox(self, container_id: str, *, nameservers: Sequence[str] = ()) -> str: ...
    async def attach(self, container_id: str, attachment: Attachment) -> None: ...
    async def attach_outbound(
        self, container_id: str, interface: str, *, isolated: bool = True, mac: str = ""
    ) -> BridgeEndpoint: ...
    async def detach(self, container_id: str, network_id: str) -> None: ...
    async def detach_outbound(self, container_id: str, interface: str) -> None: ...
    async def destroy_sandbox(self, container_id: str) -> None: ...
    async def bridge_range(self) -> tuple[str, str]: ...
    async def adopt(
        self, container_id: str, attachments: Sequence[Attachment], *, nameservers: Sequence[str] = ()
    ) -> str: ...


class EndpointOwner:
    """One per daemon. ``host_nameservers`` returns the host's nameservers each time it is called."""

    def __init__(self, driver: SandboxDriver, host_nameservers: Callable[[], Sequence[str]]) -> None:
        self.attachments = Attachments()
        self._driver = driver
        self._host_nameservers = host_nameservers
        self._networks: dict[str, Network] = {}
        self._connections: dict[str, NetworkConnection] = {}

    def set_networks(self, networks: Iterable[Network], removed_ids: Iterable[str] = ()) -> None:
        """Record networks of the cluster that the managers assigned to this node, and those that they withdrew."""
        for network_id in removed_ids:
            self._networks.pop(network_id, None)
        self._networks.update((network.id, network) for network in networks)

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks of the cluster that this node knows, because its containers use them."""
        return tuple(self._networks.values())

    async def bridge_range(self) -> tuple[str, str]:
        """Subnet and gateway of the network `bridge`."""
        return await self._driver.bridge_range()

    async def connect(self, config: ContainerConfig) -> NetworkConnection:
        """Create the container's sandbox with its interfaces, if they do not exist yet."""
        known = self._connections.get(config.id)
        if known is not None:
            return known
        plan = plan_interfaces(await self._with_addresses(config), self._networks)
        if plan.on_host:
            return NetworkConnection(netns_path=HOST_NETWORK, host_gateway=LOOPBACK)
        if plan.loopback_only:
            return NetworkConnection()
        try:
            connection = await self._create(config, plan)
        except BaseException:
            await asyncio.shield(self.release(config.id))
            raise
        self._connections[config.id] = connection
        return connection

    async def release(self, container_id: str) -> None:
        """Remove the container's sandbox, if it has one."""
        self._connections.pop(container_id, None)
        self.attachments.release(container_id)
        await self._driver.destroy_sandbox(container_id)

    async def adopt(self, config: ContainerConfig) -> None:
        """After a restart of the daemon: take over the sandbox of a container that runs or is prepared."""
        if config.netns_path in {"", HOST_NETWORK} or config.network_mode.startswith("container:"):
            return
        try:
            path = await self._driver.adopt(config.id, _attachments(config), nameservers=config.dns)
        except CoveyError as error:
            log.warning("container %s: its network could not be adopted: %s", config.id[:12], error)
            return
        for item in config.networks if not config.task_id else ():
            if item.network_id:
                self.attachments.hold(HeldAttachment(config.id, item.network_id, f"{item.ip}/{item.prefix}"))
        self._connections[config.id] = NetworkConnection(
            netns_path=path,
            endpoints=config.networks,
            resolver=config.resolver,
            host_gateway=next((each.gateway for each in config.networks if each.gateway), ""),
        )

    async def join(self, config: ContainerConfig, request: NetworkRequest) -> NetworkConnection:
        """Connect a running container to one more network. On an overlay network it asks the sandbox's resolver from now on."""
        if request.network in PREDEFINED_BRIDGE:
            return await self._join_bridge(config, request)
        held = await self.attachments.attach(config, request)
        attachment = Attachment(held.network_id, held.address, _free_interface(config), request.aliases)
        try:
            await self._driver.attach(config.id, attachment)
        except BaseException:
            self.attachments.release(config.id, held.network_id)
            raise
        endpoints = (*config.networks, self._overlay_endpoint(config, attachment))
        return self._remember(config, endpoints, RESOLVER_ADDRESS)

    async def leave(self, config: ContainerConfig, endpoint: EndpointSettings) -> NetworkConnection:
        """Disconnect a running container from one of its networks. Without the bridge, overlay networks keep a way out."""
        endpoints = tuple(item for item in config.networks if item != endpoint)
        if endpoint.network_id:
            await self._driver.detach(config.id, endpoint.network_id)
            self.attachments.release(config.id, endpoint.network_id)
            gateway = next((item for item in endpoints if item.name == GATEWAY_NETWORK), None)
            if gateway is not None and not self._need_gateway(endpoints):
                await self._driver.detach_outbound(config.id, gateway.interface)
                endpoints = tuple(item for item in endpoints if item is not gateway)
            return self._remember(config, endpoints, config.resolver)
        await self._driver.detach_outbound(config.id, endpoint.interface)
        if self._need_gateway(endpoints):
            bridge = await self._driver.attach_outbound(config.id, endpoint.interface, isolated=True)
            endpoints = (*endpoints, _bridge_endpoint(config, GATEWAY_NETWORK, endpoint.interface, bridge))
        return self._remember(config, endpoints, config.resolver)

    def _need_gateway(self, endpoints: Iterable[EndpointSettings]) -> bool:
        """Whether one of the overlay networks lets its containers out."""
        open_networks = {network.id for network in self.networks if not network.spec.internal}
        return any(item.network_id in open_networks for item in endpoints)

    async def _join_bridge(self, config: ContainerConfig, request: NetworkRequest) -> NetworkConnection:
        """Connect to the bridge, in place of the isolated way out that overlay networks have."""
        interface = _free_interface(config)
        for item in config.networks:
            if item.name == GATEWAY_NETWORK:
                await self._driver.detach_outbound(config.id, item.interface)
                interface = item.interface
        bridge = await self._driver.attach_outbound(config.id, interface, isolated=False, mac=request.mac)
        others = tuple(item for item in config.networks if item.name != GATEWAY_NETWORK)
        endpoints = (*others, _bridge_endpoint(config, BRIDGE, interface, bridge))
        return self._remember(config, endpoints, config.resolver)

    async def restore(self, lost: HeldAttachment, config: ContainerConfig) -> bool:
        """Ask for the address that the managers withdrew from a running container. Returns False if it must leave the network."""
        endpoint = next((item for item in config.networks if item.network_id == lost.network_id), None)
        if endpoint is None:
            return True
        request = NetworkRequest(network=lost.network_id, ip=endpoint.ip, aliases=endpoint.aliases)
        try:
            await self.attachments.attach(config, request)
        except CoveyError as error:
            log.warning("container %s leaves network %s: %s", config.name, endpoint.name, error)
            return False
        return True

    def _remember(
        self, config: ContainerConfig, endpoints: tuple[EndpointSettings, ...], resolver: str
    ) -> NetworkConnection:
        connection = NetworkConnection(
            netns_path=config.netns_path,
            endpoints=endpoints,
            resolver=resolver,
            host_gateway=next((item.gateway for item in endpoints if item.gateway), ""),
        )
        self._connections[config.id] = connection
        return connection

    async def _with_addresses(self, config: ContainerConfig) -> ContainerConfig:
        """The configuration of a single container with an address for each network of the cluster that it asks for."""
        if config.task_id or config.network_disabled:
            return config
        if any(request.ip for request in config.requested_networks if request.network in PREDEFINED):
            raise InvalidArgumentError("user specified IP address is supported on user defined networks only")
        requests = []
        try:
            for request in config.requested_networks:
                if request.network in PREDEFINED:
                    requests.append(request)
                    continue
                held = await self.attachments.attach(config, request)
                requests.append(msgspec.structs.replace(request, network=held.network_id, ip=held.address))
        except BaseException:
            self.attachments.release(config.id)
            raise
        return msgspec.structs.replace(config, requested_networks=tuple(requests))

    async def _create(self, config: ContainerConfig, plan: InterfacePlan) -> NetworkConnection:
        path = await self._driver.create_sandbox(config.id, nameservers=config.dns)
        endpoints = []
        host_gateway = ""
        for attachment in plan.attachments:
            await self._driver.attach(config.id, attachment)
            endpoints.append(self._overlay_endpoint(config, attachment))
        if plan.outbound:
            bridge = await self._driver.attach_outbound(config.id, plan.outbound, isolated=plan.isolated, mac=plan.mac)
            name = GATEWAY_NETWORK if plan.isolated else BRIDGE
            endpoints.append(_bridge_endpoint(config, name, plan.outbound, bridge))
            host_gateway = bridge.gateway
        resolver = RESOLVER_ADDRESS if self._needs_resolver(config, plan) else ""
        return NetworkConnection(
            netns_path=path, endpoints=tuple(endpoints), resolver=resolver, host_gateway=host_gateway
        )

    def _needs_resolver(self, config: ContainerConfig, plan: InterfacePlan) -> bool:
        """Whether the container asks the sandbox's resolver. As in Docker, one on the default bridge asks the servers themselves.

        A nameserver on the host's loopback can be reached through the resolver alone.
        """
        if plan.attachments or config.task_id:
            return True
        return not config.dns and all(
            ip_address(each.partition("%")[0]).is_loopback for each in self._host_nameservers()
        )

    def _overlay_endpoint(self, config: ContainerConfig, attachment: Attachment) -> EndpointSettings:
        address, _, prefix = attachment.address.partition("/")
        network = self._networks[attachment.network_id]
        return EndpointSettings(
            name=network.spec.annotations.name,
            network_id=network.id,
            endpoint_id=endpoint_id(config.id, network.id),
            ip=address,
            prefix=int(prefix or 32),
            mac=mac_address(address),
            aliases=attachment.aliases,
            interface=attachment.interface,
        )


def _free_interface(config: ContainerConfig) -> str:
    used = {item.interface for item in config.networks}
    return next(name for number in range(len(used) + 1) if (name := f"eth{number}") not in used)


def _attachments(config: ContainerConfig) -> tuple[Attachment, ...]:
    """The overlay interfaces that a running container has."""
    return tuple(
        Attachment(item.network_id, f"{item.ip}/{item.prefix}", item.interface or f"eth{number}", item.aliases)
        for number, item in enumerate(config.networks)
        if item.network_id
    )


def _bridge_endpoint(config: ContainerConfig, name: str, interface: str, bridge: BridgeEndpoint) -> EndpointSettings:
    ip, _, prefix = bridge.address.partition("/")
    return EndpointSettings(
        name=name,
        endpoint_id=endpoint_id(config.id, name),
        ip=ip,
        prefix=int(prefix or 32),
        mac=bridge.mac,
        gateway=bridge.gateway,
        interface=interface,
    )
