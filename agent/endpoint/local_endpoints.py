"""Endpoints of containers on the networks of this host: their addresses, their fragments in the kernel, and their names.

Invariant: an endpoint holds its addresses from `attach` to `detach`. Invariant: everything can be repeated; `adopt` puts the fragment that
`attach` put, from what the container's configuration says.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from agent.container.model import ContainerConfig, EndpointSettings, NetworkRequest
from agent.dns.zone import LocalMember, build_local_zone
from agent.endpoint import kernel_plans
from agent.endpoint.endpoint_settings import endpoint_settings, hairpin_subnets, link_pairs, open_ports, zone_member
from agent.endpoint.fragments import Fragments, LocalDriver
from agent.endpoint.plan import usable
from agent.endpoint.port_plan import ReachableContainer
from agent.local_network.addresses import config_of
from agent.local_network.model import (
    BRIDGE,
    GATEWAY,
    LocalNetwork,
    NetworkRequirements,
    device_name,
)
from agent.local_network.networks import LocalNetworks
from agent.local_network.options import read_bridge_options
from agent.network.model import LocalAttachment
from agent.network.plan.bridge import plan_default_routes, plan_open_ports
from covey.errors import CoveyError, InvalidArgumentError, NotFoundError, PermissionDeniedError
from covey.objects import Network

log = logging.getLogger(__name__)


class LocalEndpoints:
    """One per daemon. `prefix` begins the names of the daemon's tables."""

    def __init__(self, networks: LocalNetworks, driver: LocalDriver, fragments: Fragments, prefix: str) -> None:
        self.networks = networks
        self._driver = driver
        self._fragments = fragments
        self._daemon = kernel_plans.Daemon(prefix)
        self._members: dict[str, dict[str, LocalMember]] = {}
        self._ready: set[str] = set()
        self._open: set[str] = set()
        self._changing = asyncio.Lock()  # a network that is made has no row yet, but its name and its subnet

    async def open(self) -> None:
        """Load the networks and make them, the default bridge only if an earlier daemon did: it is made at its first use.

        A network that the kernel refuses now is tried again.
        """
        routes = await self._driver.host_routes()
        mtu = min(await self._driver.outbound_mtu(), kernel_plans.MAX_DEFAULT_MTU)
        self._daemon = self._daemon._replace(mtu=mtu)
        self.networks.open(routes)
        devices = {route.device for route in routes}
        for network in self.networks.list():
            if network.of_cluster or (network.name == BRIDGE and device_name(network) not in devices):
                continue
            try:
                await self._make(network)
            except CoveyError as error:
                log.warning("network %s: %s", network.name, error)

    async def close(self) -> None:
        """Close the store. Networks and endpoints stay."""
        self.networks.close()

    async def create(self, wanted: NetworkRequirements, now_ns: int) -> LocalNetwork:
        """Create a network. If the kernel refuses it, nothing is left."""
        async with self._changing:
            return await self._create(wanted, now_ns)

    async def _create(self, wanted: NetworkRequirements, now_ns: int, *, cluster_id: str = "") -> LocalNetwork:
        routes = await self._driver.host_routes()
        network = self.networks.plan(wanted, routes, now_ns, cluster_id=cluster_id)
        try:
            await self._make(network)
            await self._probe(network)
            self.networks.add(network)
        except BaseException:
            await asyncio.shield(self._unmake(network))
            raise
        return network

    async def part_of(self, network: Network, now_ns: int) -> LocalNetwork:
        """This node's part of a network of the cluster whose driver works on each node by itself, made at its first use.

        It goes with its last container.
        """
        async with self._changing:
            found = self.networks.find(network.id)
            if found is not None:
                return found
            spec = network.spec
            wanted = NetworkRequirements(
                name=spec.annotations.name,
                driver=spec.driver.name,
                options=dict(spec.driver.options),
                internal=spec.internal,
                ipv6=spec.ipv6,
                ipam=spec.ipam,
                config_from=spec.config_from,
            )
            return await self._create(wanted, now_ns, cluster_id=network.id)

    async def remove(self, network: LocalNetwork) -> None:
        """Remove a network that nothing uses."""
        async with self._changing:
            self.networks.check_removable(self.networks.get(network.id))
            self.networks.remove(network)
            await self._unmake(network)
            await self._driver.set_local_names({network.id: None})

    async def remove_stale(self, network: LocalNetwork, container: str) -> bool:
        """Remove the endpoint of a container that is gone, by its id. Returns False if there is none."""
        holders = [each for each in self.networks.addresses.holders(network.id) if each.startswith(container)]
        if len(holders) != 1 or not container:
            return False
        await self.detach(holders[0], network.id)
        return True

    async def gateway_network(self, now_ns: int) -> LocalNetwork:
        """The network that gives containers on overlay networks a way out, made at its first use."""
        async with self._changing:
            return self.networks.find(GATEWAY) or await self._create_gateway(now_ns)

    async def _create_gateway(self, now_ns: int) -> LocalNetwork:
        options = {
            "com.docker.network.bridge.enable_icc": "false",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
            "com.docker.network.bridge.name": GATEWAY,
        }
        wanted = NetworkRequirements(name=GATEWAY, driver=BRIDGE, ipv6=True, options=options)
        return await self._create(wanted, now_ns)

    def check_request(self, network: LocalNetwork, request: NetworkRequest) -> None:
        """Refuse what no container can have on the network, in Docker's words."""
        usable(network)
        wanted = tuple(filter(None, (request.ip, request.ip6)))
        if network.is_predefined and wanted:
            raise InvalidArgumentError("user specified IP address is supported on user defined networks only")
        if network.is_predefined and (request.aliases or request.links):
            raise InvalidArgumentError("network-scoped alias is supported only for containers in user defined networks")
        for address in wanted:
            config_of(network, address)

    async def attach(
        self, config: ContainerConfig, network: LocalNetwork, request: NetworkRequest, interface: str
    ) -> EndpointSettings:
        """Connect a container, with addresses of its own. Its default route and names are set by `settle`."""
        given = self.networks.addresses.allocate(
            self.networks.get(network.id), config.id, request.ip, request.ip6
        )  # from here on the network is not removed
        try:
            await self._make(network)
            endpoint = endpoint_settings(config, network, request, interface, given)
            fragment = kernel_plans.endpoint_fragment(network, config.id, endpoint, self._daemon)
            await self._fragments.put(kernel_plans.endpoint_key(config.id, network.id), fragment)
        except BaseException:
            await asyncio.shield(self._detach(config.id, network.id))
            raise
        return endpoint

    def subnets(self) -> tuple[str, ...]:
        """The subnets of all networks of this host whose containers reach the outside through it."""
        return tuple(
            config.subnet
            for network in self.networks.list()
            if network.driver == BRIDGE and not network.internal
            for config in network.ipam.configs
        )

    def reached_by_host(self, container_id: str, endpoints: Sequence[EndpointSettings]) -> ReachableContainer | None:
        """How the host leads ports to a container: by the endpoint with its IPv4 default route, else with that of IPv6.

        A routed network has no ports on the host: its containers are reached at their own addresses.
        """
        gateways = kernel_plans.default_gateways(tuple(endpoints))
        for gateway in gateways:
            endpoint = next(each for each in endpoints if each.interface == gateway.interface)
            network = self.networks.find(endpoint.network_id)
            if network is None or network.driver != BRIDGE or network.internal:
                continue
            options = read_bridge_options(network.options)
            routed = kernel_plans.routed_families(network)
            v4, v6 = "" if routed[0] else endpoint.ip, "" if routed[1] else endpoint.ip6
            if not v4 and not v6:
                return None
            return ReachableContainer(
                endpoint_id=endpoint.endpoint_id,
                v4=v4,
                v6=v6,
                device=kernel_plans.host_device(network, container_id, endpoint.interface),
                subnets=hairpin_subnets(network, endpoint),
                default_address=options.host_binding,
            )
        return None

    async def settle(self, config: ContainerConfig, endpoints: tuple[EndpointSettings, ...]) -> None:
        """Set the default routes of a container that has these endpoints, the names that it has and those that it resolves."""
        gateways = kernel_plans.default_gateways(endpoints)
        fragment = plan_default_routes(config.id, gateways)
        await self._fragments.put(kernel_plans.routes_key(config.id), fragment)
        await self._open_ports(config, endpoints)
        named = [each for each in endpoints if self._has_names(each)]
        left = {key for key, members in self._members.items() if config.id in members} - {
            each.network_id for each in named
        }
        for each in named:
            self._members.setdefault(each.network_id, {})[config.id] = zone_member(config, each)
        for network_id in left:
            self._members[network_id].pop(config.id)
        await self._publish_names({each.network_id for each in named} | left)
        await self._driver.set_local_attachments(
            config.id, [LocalAttachment(each.network_id, each.interface, link_pairs(each)) for each in named]
        )

    async def _open_ports(self, config: ContainerConfig, endpoints: tuple[EndpointSettings, ...]) -> None:
        """Let the outside reach the published ports of a container on routed networks."""
        found = [(self.networks.find(each.network_id), each) for each in endpoints]
        ports = [port for network, each in found if network is not None for port in open_ports(config, network, each)]
        fragment = plan_open_ports(self._daemon.prefix, ports)
        if fragment:
            self._open.add(config.id)
            await self._fragments.put(kernel_plans.open_ports_key(config.id), fragment)
        elif config.id in self._open:
            self._open.discard(config.id)
            await self._fragments.drop(kernel_plans.open_ports_key(config.id))

    async def detach(self, container_id: str, network_id: str) -> None:
        """Disconnect a container from a network. Nothing happens if it is not connected."""
        await self._detach(container_id, network_id)
        if self._members.get(network_id, {}).pop(container_id, None) is not None:
            await self._publish_names({network_id})
        network = self.networks.find(network_id)
        if network is not None and network.of_cluster:
            with contextlib.suppress(NotFoundError, PermissionDeniedError):  # it went already, or has other containers
                await self.remove(network)

    async def detach_all(self, container_id: str) -> None:
        """Disconnect a container that has ended."""
        for network in self.networks.list():
            if container_id in self.networks.addresses.holders(network.id):
                await self.detach(container_id, network.id)
        await self._fragments.drop(kernel_plans.routes_key(container_id))
        if container_id in self._open:
            self._open.discard(container_id)
            await self._fragments.drop(kernel_plans.open_ports_key(container_id))

    async def adopt(self, config: ContainerConfig, endpoints: Sequence[EndpointSettings]) -> None:
        """After a restart of the daemon: take over the endpoints of a container."""
        for endpoint in endpoints:
            network = self.networks.find(endpoint.network_id)
            if network is None:
                continue
            self.networks.addresses.adopt(network, config.id, endpoint.ip, endpoint.ip6)
            try:
                await self._make(network)
                fragment = kernel_plans.endpoint_fragment(network, config.id, endpoint, self._daemon)
                await self._fragments.put(kernel_plans.endpoint_key(config.id, network.id), fragment)
            except CoveyError as error:
                log.warning("container %s on network %s: %s", config.name, network.name, error)

    async def _make(self, network: LocalNetwork) -> None:
        """Bring the network itself into the kernel, once in the life of this process."""
        fragment = kernel_plans.network_fragment(network, self._daemon)
        if fragment is None or network.id in self._ready:
            return
        await self._fragments.put(kernel_plans.network_key(network.id), fragment)
        self._ready.add(network.id)

    async def _probe(self, network: LocalNetwork) -> None:
        """Find out whether the kernel can make interfaces on the network. Raises the error that names what it lacks."""
        fragment = kernel_plans.probe_fragment(network)
        if fragment is None:
            return
        key = f"probe/{network.id}"
        try:
            await self._fragments.put(key, fragment)
        finally:
            await self._fragments.drop(key)

    async def _unmake(self, network: LocalNetwork) -> None:
        self._ready.discard(network.id)
        self._members.pop(network.id, None)
        await self._fragments.drop(kernel_plans.network_key(network.id))

    async def _detach(self, container_id: str, network_id: str) -> None:
        await self._fragments.drop(kernel_plans.endpoint_key(container_id, network_id))
        self.networks.addresses.release(network_id, container_id)

    def _has_names(self, endpoint: EndpointSettings) -> bool:
        """Names resolve on the networks that users create, as in Docker, not on the default bridge."""
        network = self.networks.find(endpoint.network_id)
        return network is not None and not network.is_predefined and network.name != GATEWAY

    async def _publish_names(self, network_ids: set[str]) -> None:
        zones = {}
        for network_id in sorted(network_ids):
            network = self.networks.find(network_id)
            if network is not None:
                members = self._members.get(network_id, {})
                zones[network_id] = build_local_zone(network.name, [members[key] for key in sorted(members)])
        if zones:
            await self._driver.set_local_names(zones)
