"""The way out of containers on overlay networks: a routed veth pair each, and masquerade behind the host's addresses. Pure.

The container has a single address and a permanent neighbour as its gateway, which the host answers at every pair; the host has a route
to that address. So there is no bridge that containers share, a caller on the same host keeps its address, and br_netfilter does not matter.

Invariant: containers reach one another through their way out only at published ports.
"""

from __future__ import annotations

from ipaddress import ip_interface

import msgspec

from agent.network.namespace_state import (
    HOST,
    Fragment,
    Link,
    NamespaceState,
    Neighbour,
    NftChain,
    NftSet,
    NftTable,
    Route,
    VethPeer,
    container_key,
)
from agent.network.plan.bridge import interface_sysctls
from agent.network.plan.names import port_name

HOST_MAC = "02:42:ff:ff:ff:01"
"""The MAC address of the host's end of every pair: each pair is a link of its own."""


class GatewayPort(msgspec.Struct, frozen=True, kw_only=True):
    """A container's way out. `addresses` are the container's and `gateways` the host's, without prefix lengths, one of each family."""

    container_id: str
    interface: str
    mac: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    mtu: int = 1500


def table_name(prefix: str) -> str:
    """The nftables table of the way out of a daemon."""
    return f"inet {prefix}-gateway"


def host_device(container_id: str, interface: str) -> str:
    """The host's end of the pair."""
    return port_name(container_id, interface)


def plan_gateway(prefix: str, subnets: tuple[str, ...]) -> Fragment:
    """The fragment of the way out as such: forwarding, and masquerade of its subnets."""
    elements = {version: {each: "" for each in subnets if ip_interface(each).version == version} for version in (4, 6)}
    table = NftTable(
        chains={
            "forward": NftChain(
                hook="type filter hook forward priority filter; policy accept;",
                rules=(
                    "ct state established,related accept",
                    "oifname != @ports return",
                    "ct status dnat accept",
                    "drop",
                ),
            ),
            "postrouting": NftChain(
                hook="type nat hook postrouting priority srcnat; policy accept;",
                rules=(
                    "ip saddr @subnets4 oifname != @ports masquerade",
                    "ip6 saddr @subnets6 oifname != @ports masquerade",
                ),
            ),
        },
        sets={
            "ports": NftSet(head="type ifname;"),
            "subnets4": NftSet(head="type ipv4_addr; flags interval;", elements=elements[4]),
            "subnets6": NftSet(head="type ipv6_addr; flags interval;", elements=elements[6]),
        },
    )
    sysctls = {"net/ipv4/ip_forward": "1"} | ({"net/ipv6/conf/all/forwarding": "1"} if elements[6] else {})
    return {HOST: NamespaceState(tables={table_name(prefix): table}, sysctls=sysctls)}


def plan_gateway_port(port: GatewayPort, prefix: str) -> Fragment:
    """The fragment of one container's way out, without its default route."""
    key, outer = container_key(port.container_id), host_device(port.container_id, port.interface)
    peer = VethPeer(namespace=key, name=port.interface, mac=port.mac, mtu=port.mtu)
    ports = NftTable(sets={"ports": NftSet(head="type ifname;", elements={f'"{outer}"': ""})})
    return {
        HOST: NamespaceState(
            links={outer: Link(kind="veth", mac=HOST_MAC, mtu=port.mtu, peer=peer)},
            addresses=frozenset((outer, _single(address)) for address in port.gateways),
            routes=frozenset(_route(address, outer) for address in port.addresses),
            neighbours=frozenset(Neighbour(outer, address, port.mac) for address in port.addresses),
            tables={table_name(prefix): ports},
            sysctls=interface_sysctls(outer, port.addresses),
        ),
        key: NamespaceState(
            links={port.interface: Link(kind="veth", mac=port.mac, mtu=port.mtu)},
            addresses=frozenset((port.interface, _single(address)) for address in port.addresses),
            routes=frozenset(_route(address, port.interface) for address in port.gateways),
            neighbours=frozenset(Neighbour(port.interface, address, HOST_MAC) for address in port.gateways),
            sysctls=interface_sysctls(port.interface, port.addresses),
        ),
    }


def _single(address: str) -> str:
    """The address as a network of its own."""
    return f"{address}/128" if ":" in address else f"{address}/32"


def _route(address: str, device: str) -> Route:
    return Route(destination=_single(address), family=6 if ":" in address else 4, device=device)
