"""Fragments of local networks and of their endpoints: chooses the planner by the network's driver. Pure."""

from __future__ import annotations

import hashlib
from ipaddress import ip_interface, ip_network
from typing import NamedTuple

from agent.container.model import EndpointSettings
from agent.local_network.model import GATEWAY, LocalNetwork, device_name
from agent.local_network.options import GatewayMode, read_bridge_options, read_vlan_options
from agent.network.namespace_state import Fragment
from agent.network.plan import bridge, gateway, vlan
from agent.network.plan.bridge import BridgeNetwork, BridgePort, DefaultGateway
from covey.mac_address import derived_mac

MAX_DEFAULT_MTU = 1500
"""As in Docker; less where the host's own way out carries less."""


class Daemon(NamedTuple):
    """What plans need to know of the daemon: the prefix of its tables, and the MTU of networks that name none."""

    prefix: str
    mtu: int = MAX_DEFAULT_MTU


def network_key(network_id: str) -> str:
    """The key of a network's fragment."""
    return f"local/{network_id}"


def endpoint_key(container_id: str, network_id: str) -> str:
    """The key of an endpoint's fragment."""
    return f"endpoint/{container_id}/{network_id}"


def open_ports_key(container_id: str) -> str:
    """The key of the fragment of a container's ports that the outside reaches at its own addresses."""
    return f"open/{container_id}"


def routed_families(network: LocalNetwork) -> tuple[bool, bool]:
    """Whether the outside reaches the network's containers at their own addresses, IPv4 and IPv6 (gateway mode routed)."""
    if network.driver != "bridge" or network.internal:
        return False, False
    options = read_bridge_options(network.options)
    return options.mode4 is GatewayMode.ROUTED, options.mode6 is GatewayMode.ROUTED


def routes_key(container_id: str) -> str:
    """The key of the fragment of a container's default routes."""
    return f"routes/{container_id}"


def network_fragment(network: LocalNetwork, daemon: Daemon) -> Fragment | None:
    """What the network itself needs; None for one that needs nothing."""
    if network.config_only or network.driver in {"host", "null"}:
        return None
    if network.name == GATEWAY:
        return gateway.plan_gateway(daemon.prefix, tuple(config.subnet for config in network.ipam.configs))
    if network.driver == "bridge":
        return bridge.plan_bridge(_bridge(network, daemon.mtu), daemon.prefix)
    return vlan.plan_parent(_vlan(network), daemon.prefix)


def probe_fragment(network: LocalNetwork) -> Fragment | None:
    """What tells at the creation of a network that the kernel cannot make its interfaces; None where nothing needs to."""
    if network.config_only or network.driver not in {"macvlan", "ipvlan"}:
        return None
    return vlan.plan_probe(_vlan(network))


def endpoint_fragment(network: LocalNetwork, container_id: str, endpoint: EndpointSettings, daemon: Daemon) -> Fragment:
    """What a container's interface on the network needs, without its default route."""
    addresses = endpoint_addresses(endpoint)
    if network.name == GATEWAY:
        own = tuple(each.partition("/")[0] for each in addresses)
        gateways = tuple(filter(None, (endpoint.gateway, endpoint.gateway6)))
        port = gateway.GatewayPort(
            container_id=container_id,
            interface=endpoint.interface,
            mac=endpoint.mac,
            addresses=own,
            gateways=gateways,
            mtu=read_bridge_options(network.options).mtu or daemon.mtu,
        )
        return gateway.plan_gateway_port(port, daemon.prefix)
    common = {"container_id": container_id, "interface": endpoint.interface, "mac": endpoint.mac}
    if network.driver == "bridge":
        bridge_port = BridgePort(**common, addresses=addresses, sysctls=endpoint.sysctls)
        return bridge.plan_port(bridge_port, _bridge(network, daemon.mtu))
    vlan_port = vlan.VlanPort(**common, addresses=addresses, sysctls=endpoint.sysctls)
    return vlan.plan_port(vlan_port, _vlan(network))


def host_device(network: LocalNetwork, container_id: str, interface: str) -> str:
    """The device through which the host reaches an endpoint, "" if it does not."""
    if network.name == GATEWAY:
        return gateway.host_device(container_id, interface)
    return device_name(network)


def endpoint_addresses(endpoint: EndpointSettings) -> tuple[str, ...]:
    """All addresses of an endpoint with their prefix lengths."""
    found = [f"{endpoint.ip}/{endpoint.prefix}"] if endpoint.ip else []
    found += [f"{endpoint.ip6}/{endpoint.prefix6}"] if endpoint.ip6 else []
    return (*found, *(f"{each}/{64 if ':' in each else 16}" for each in endpoint.link_local_ips))


def default_gateways(endpoints: tuple[EndpointSettings, ...]) -> tuple[DefaultGateway, ...]:
    """The default routes of a container: in each family through the endpoint with the highest priority, then the first by name.

    The way out of overlay networks comes last. A network without a gateway whose link itself leads out has `gateway` 0.0.0.0 or ::.
    """
    ordered = sorted(endpoints, key=lambda each: (-each.gateway_priority, each.name == GATEWAY, each.name))
    chosen = []
    for family, field in ((4, "gateway"), (6, "gateway6")):
        found = next((each for each in ordered if getattr(each, field)), None)
        if found is not None:
            address: str = getattr(found, field)
            via = "" if address in {"0.0.0.0", "::"} else address
            chosen.append(DefaultGateway(interface=found.interface, gateway=via, family=family))
    return tuple(chosen)


def choose_mac(address4: str, container_id: str, network_id: str) -> str:
    """Docker's scheme: from the IPv4 address, else from the endpoint."""
    if address4:
        return derived_mac(address4)
    digest = hashlib.sha256(f"{container_id}/{network_id}".encode()).digest()
    return "02:42:" + ":".join(f"{octet:02x}" for octet in digest[:4])


def _bridge(network: LocalNetwork, default_mtu: int) -> BridgeNetwork:
    options = read_bridge_options(network.options, internal=network.internal)
    modes = {4: options.mode4, 6: options.mode6}
    addresses = [
        f"{config.gateway}/{ip_network(config.subnet).prefixlen}"
        for config in network.ipam.configs
        if config.gateway
        and modes[ip_interface(config.subnet).version] is not GatewayMode.ISOLATED
        and not (options.inhibit_ipv4 and ip_interface(config.subnet).version == 4)
    ]
    return BridgeNetwork(
        device=device_name(network),
        addresses=tuple(addresses),
        subnets=tuple(str(ip_network(config.subnet)) for config in network.ipam.configs),
        internal=network.internal,
        icc=options.icc,
        masquerade=options.masquerade,
        mode4=options.mode4,
        mode6=options.mode6,
        mtu=default_mtu if network.is_predefined and options.mtu == MAX_DEFAULT_MTU else options.mtu or default_mtu,
        ipv6=network.ipv6,
    )


def _vlan(network: LocalNetwork) -> vlan.VlanNetwork:
    options = read_vlan_options(network.driver, network.options)
    return vlan.VlanNetwork(
        id=network.id,
        driver=network.driver,
        parent=options.parent,
        mode=options.mode,
        flag=options.flag,
        mtu=options.mtu,
    )
