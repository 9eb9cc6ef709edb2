"""Bridge networks of one host: the bridge, its addresses, isolation and masquerade, and the endpoints of containers on it. Pure.

Invariant: containers of different bridge networks do not reach each other, and nobody outside reaches a port that is not published, in
gateway mode nat. A connection that was translated (`ct status dnat`) is one to a published port and may pass. Invariant: no rule matches
a frame that stays on its bridge, so br_netfilter does not matter.

Every network has two chains of its own, entered by maps of device names, so that a packet's cost does not grow with their number:
`to-DEVICE` for what is forwarded to the network and `from-DEVICE` for what leaves it.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_interface
from typing import NamedTuple

import msgspec

from agent.network.namespace_state import (
    HOST,
    Fragment,
    Link,
    NamespaceState,
    NftChain,
    NftSet,
    NftTable,
    Route,
    VethPeer,
    container_key,
)
from agent.network.plan.names import port_name

NAT, NAT_UNPROTECTED, ROUTED, ISOLATED = "nat", "nat-unprotected", "routed", "isolated"
OPEN_PORTS = {4: "open_ports4", 6: "open_ports6"}
"""Sets of `address . protocol . port` that the outside may reach without translation, on networks in gateway mode routed."""


_OPEN_PORT_HEADS = {
    4: "type ipv4_addr . inet_proto . inet_service;",
    6: "type ipv6_addr . inet_proto . inet_service;",
}


class OpenPort(NamedTuple):
    """A port of a container on a network in gateway mode routed, which the outside may reach."""

    address: str
    protocol: str
    number: int


class BridgeNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """A bridge network as the kernel needs it. `addresses` are the bridge's own, with prefix lengths; `subnets` all of the network."""

    device: str
    addresses: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    internal: bool = False
    icc: bool = True
    masquerade: bool = True
    mode4: str = NAT
    mode6: str = NAT
    mtu: int = 1500
    ipv6: bool = False


class BridgePort(msgspec.Struct, frozen=True, kw_only=True):
    """A container's interface on a bridge network. `addresses` have their prefix lengths."""

    container_id: str
    interface: str
    mac: str
    addresses: tuple[str, ...]
    sysctls: dict[str, str] = {}


class DefaultGateway(msgspec.Struct, frozen=True, kw_only=True):
    """The default route of a container in one family; without `gateway` the link itself leads out."""

    interface: str
    gateway: str
    family: int = 4


def table_name(prefix: str) -> str:
    """The nftables table of the bridge networks of a daemon."""
    return f"inet {prefix}-bridges"


def plan_bridge(network: BridgeNetwork, prefix: str) -> Fragment:
    """The fragment of a network: device, addresses, firewall and masquerade. `prefix` is the daemon's."""
    device = network.device
    addresses = {(device, address) for address in network.addresses}
    sysctls = {"net/ipv4/ip_forward": "1"}
    if network.ipv6:
        sysctls |= {
            f"net/ipv6/conf/{device}/accept_dad": "0",
            f"net/ipv6/conf/{device}/accept_ra": "0",
            f"net/ipv6/conf/{device}/disable_ipv6": "0",
            "net/ipv6/conf/all/forwarding": "1",
        }
    return {
        HOST: NamespaceState(
            links={device: Link(kind="bridge", mtu=network.mtu)},
            addresses=frozenset(addresses),
            tables={table_name(prefix): _table(network)},
            sysctls=sysctls,
        )
    }


def plan_port(port: BridgePort, network: BridgeNetwork) -> Fragment:
    """The fragment of a container's interface: a veth pair between the bridge and its namespace."""
    key, outer = container_key(port.container_id), port_name(port.container_id, port.interface)
    peer = VethPeer(namespace=key, name=port.interface, mac=port.mac, mtu=network.mtu)
    # Where br_netfilter is on, a frame to a published port of its own sender goes back out of the port that it came from.
    options = {"hairpin_mode": 1} | ({} if network.icc else {"isolated": 1})
    return {
        HOST: NamespaceState(
            links={outer: Link(kind="veth", mtu=network.mtu, master=network.device, peer=peer, port_options=options)}
        ),
        key: NamespaceState(
            links={port.interface: Link(kind="veth", mac=port.mac, mtu=network.mtu)},
            addresses=frozenset((port.interface, address) for address in port.addresses),
            sysctls=interface_sysctls(port.interface, port.addresses) | port.sysctls,
        ),
    }


def plan_open_ports(prefix: str, ports: Iterable[OpenPort]) -> Fragment:
    """The fragment of the ports that the outside reaches at the containers' own addresses; empty without any."""
    elements: dict[int, dict[str, str]] = {4: {}, 6: {}}
    for port in ports:
        family = ip_interface(port.address).version
        elements[family][f"{port.address} . {port.protocol} . {port.number}"] = ""
    if not any(elements.values()):
        return {}
    sets = {OPEN_PORTS[family]: NftSet(head=_OPEN_PORT_HEADS[family], elements=elements[family]) for family in (4, 6)}
    return {HOST: NamespaceState(tables={table_name(prefix): NftTable(sets=sets)})}


def plan_default_routes(container_id: str, gateways: tuple[DefaultGateway, ...]) -> Fragment:
    """The fragment of a container's default routes."""
    routes = frozenset(
        Route(destination="default", family=each.family, gateway=each.gateway, device=each.interface)
        for each in gateways
    )
    return {container_key(container_id): NamespaceState(routes=routes)}


def interface_sysctls(interface: str, addresses: tuple[str, ...]) -> dict[str, str]:
    """IPv6 on an interface that has an IPv6 address, without a wait for duplicates: the host gives every address once."""
    if not any(ip_interface(address).version == 6 for address in addresses):
        return {}
    folder = f"net/ipv6/conf/{interface}"
    return {f"{folder}/accept_dad": "0", f"{folder}/accept_ra": "0", f"{folder}/disable_ipv6": "0"}


def _table(network: BridgeNetwork) -> NftTable:
    device = network.device
    chains = {
        "forward": NftChain(
            hook="type filter hook forward priority filter; policy accept;",
            rules=("ct state established,related accept", "iifname vmap @from", "oifname vmap @to"),
        ),
        f"to-{device}": NftChain(rules=_rules_to(network)),
        f"from-{device}": NftChain(rules=(f'oifname != "{device}" drop',) if network.internal else ()),
    }
    sets = {
        "to": _chain_map("ifname", {f'"{device}"': f"jump to-{device}"}),
        "from": _chain_map("ifname", {f'"{device}"': f"jump from-{device}"}),
        "bridges": NftSet(head="type ifname;", elements={f'"{device}"': ""}),
        OPEN_PORTS[4]: NftSet(head=_OPEN_PORT_HEADS[4]),
        OPEN_PORTS[6]: NftSet(head=_OPEN_PORT_HEADS[6]),
    }
    masqueraded = _masqueraded(network)
    if masqueraded:
        chains["postrouting"] = NftChain(
            hook="type nat hook postrouting priority srcnat; policy accept;",
            rules=("ip saddr vmap @masquerade4", "ip6 saddr vmap @masquerade6"),
        )
        # Containers of other networks see the caller's own address: they answer through the host anyway.
        chains[f"out-{device}"] = NftChain(rules=("oifname != @bridges masquerade",))
        for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
            elements = {
                subnet: f"jump out-{device}" for subnet in masqueraded if ip_interface(subnet).version == version
            }
            sets[f"masquerade{version}"] = _chain_map(kind, elements, flags=" flags interval;")
    return NftTable(chains=chains, sets=sets)


def _rules_to(network: BridgeNetwork) -> tuple[str, ...]:
    """Verdicts on new connections that are forwarded to the network."""
    own = f'iifname "{network.device}"'
    within = (f"{own} accept",) if network.icc else (f"{own} ct status dnat accept", f"{own} drop")
    if network.internal:
        return (*within, "drop")
    rules = [*within, "ct status dnat accept"]
    for mode, protocol, version in ((network.mode4, "ipv4", 4), (network.mode6, "ipv6", 6)):
        if mode == ROUTED:
            family = "ip" if version == 4 else "ip6"
            icmp = "icmp" if version == 4 else "ipv6-icmp"
            rules.append(f"{family} daddr . meta l4proto . th dport @{OPEN_PORTS[version]} accept")
            rules.append(f"meta nfproto {protocol} meta l4proto {icmp} accept")
        elif mode == NAT_UNPROTECTED:
            rules.append(f"meta nfproto {protocol} iifname != @bridges accept")
    return (*rules, "drop")


def _masqueraded(network: BridgeNetwork) -> list[str]:
    if network.internal or not network.masquerade:
        return []
    modes = {4: network.mode4, 6: network.mode6}
    return [each for each in network.subnets if modes[ip_interface(each).version] in {NAT, NAT_UNPROTECTED}]


def _chain_map(key: str, elements: dict[str, str], flags: str = "") -> NftSet:
    return NftSet(head=f"type {key} : verdict;{flags}", is_map=True, elements=elements)
