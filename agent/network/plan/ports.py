"""Published ports of one container as a fragment: how its host leads them to the container. Pure.

Invariant: nothing in user space touches a packet. Invariant: the container sees the client's address, but for a client on the
host's loopback and one in the container's own subnet, whose replies would not come back through the host.

A port is translated at the entry (`prerouting`) and for processes of the host itself (`output`), by a map from protocol and port,
or protocol, address and port, to the container's.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

import msgspec

from agent.network.namespace_state import HOST, Fragment, NamespaceState, NftChain, NftSet, NftTable

PROTOCOLS = ("tcp", "udp", "sctp")
ANY_ADDRESSES = frozenset({"", "0.0.0.0", "::"})


class PortForward(msgspec.Struct, frozen=True, kw_only=True):
    """One published port. `host_address` is one of the host's, or `0.0.0.0` or `::` for all of that family."""

    protocol: str
    host_address: str
    host_port: int
    target_address: str
    target_port: int


class ForwardTarget(msgspec.Struct, frozen=True, kw_only=True):
    """How the host reaches the container: its device in the host's namespace, and the subnets in which replies bypass the host.

    For a bridge these are the bridge and its subnets, for a routed veth pair its end and the container's own addresses.
    """

    device: str
    subnets: tuple[str, ...] = ()


def table_key(prefix: str) -> str:
    """The table of published ports of the daemon with this prefix."""
    return f"inet {prefix}-ports"


def plan(prefix: str, forwards: Sequence[PortForward], target: ForwardTarget) -> Fragment:
    """The fragment of a container's published ports; empty without any."""
    if not forwards:
        return {}
    elements: dict[str, dict[str, str]] = {name: {} for name in _HEADS}
    for forward in forwards:
        family = ip_address(forward.target_address).version
        port = f"{forward.host_port}"
        if forward.host_address in ANY_ADDRESSES:
            name, key = f"any{family}", f"{forward.protocol} . {port}"
        else:
            name, key = f"at{family}", f"{forward.protocol} . {forward.host_address} . {port}"
        elements[name][key] = f"{forward.target_address} . {forward.target_port}"
    for subnet in target.subnets:
        elements[f"hairpin{6 if ':' in subnet else 4}"][f"{subnet} . {subnet}"] = ""
    sets = {
        name: NftSet(head=head, is_map=not name.startswith("hairpin"), elements=elements[name])
        for name, head in _HEADS.items()
    }
    sysctls = {
        "net/ipv4/ip_forward": "1",
        f"net/ipv4/conf/{target.device}/route_localnet": "1",
    }
    if any(":" in forward.target_address for forward in forwards):
        sysctls["net/ipv6/conf/all/forwarding"] = "1"
    return {HOST: NamespaceState(tables={table_key(prefix): NftTable(chains=_CHAINS, sets=sets)}, sysctls=sysctls)}


_HEADS = {
    "any4": "type inet_proto . inet_service : ipv4_addr . inet_service;",
    "any6": "type inet_proto . inet_service : ipv6_addr . inet_service;",
    "at4": "type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service;",
    "at6": "type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service;",
    "hairpin4": "type ipv4_addr . ipv4_addr; flags interval;",
    "hairpin6": "type ipv6_addr . ipv6_addr; flags interval;",
}
_TRANSLATE = (
    "meta l4proto != { tcp, udp, sctp } return",
    "dnat ip to meta l4proto . ip daddr . th dport map @at4",
    "dnat ip6 to meta l4proto . ip6 daddr . th dport map @at6",
    "fib daddr type local dnat ip to meta l4proto . th dport map @any4",
    "fib daddr type local dnat ip6 to meta l4proto . th dport map @any6",
)
_CHAINS = {
    # A bridge that may carry the host's loopback addresses must not take them from outside.
    "guard": NftChain(
        hook="type filter hook prerouting priority -320; policy accept;",
        rules=(
            'iifname != "lo" ip daddr 127.0.0.0/8 drop',
            'iifname != "lo" ip saddr 127.0.0.0/8 drop',
        ),
    ),
    "enter": NftChain(hook="type nat hook prerouting priority -100; policy accept;", rules=_TRANSLATE),
    "own": NftChain(hook="type nat hook output priority -100; policy accept;", rules=_TRANSLATE),
    "leave": NftChain(
        hook="type nat hook postrouting priority 100; policy accept;",
        rules=(
            "ct status & dnat == dnat ip saddr 127.0.0.0/8 masquerade",
            "ct status & dnat == dnat ip saddr . ip daddr @hairpin4 masquerade",
            "ct status & dnat == dnat ip6 saddr . ip6 daddr @hairpin6 masquerade",
        ),
    ),
}
