"""Virtual IPs of services on an overlay network as fragments, once in the network's sandbox for all containers on it. Pure.

The bridge of the sandbox has the VIPs as addresses and translates what comes for them, to backends in turns. Replies cross the bridge,
where br_netfilter of this namespace alone hands them to conntrack, which restores the VIP; so backends see the caller's own address.
Packets that are not for a VIP are not touched.

Invariant: only ready endpoints are backends. A VIP without any refuses at once instead of timing out.
Invariant: nothing of it lives in a container's namespace, where the container could flush it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from agent.network.namespace_state import Fragment, NamespaceState, NftChain, NftSet, NftTable, network_key
from agent.network.plan import late_replies
from agent.network.plan.balance import balance
from agent.network.plan.overlay import BRIDGE

TABLE = "inet covey-vips"


class Vip(msgspec.Struct, frozen=True, kw_only=True):
    """A service's VIP of one family on a network, and the addresses of its ready endpoints. `host` is this host, for the order."""

    service_id: str
    address: str
    backends: tuple[str, ...]
    host: str


def base(network_id: str, *, ipv6: bool) -> Fragment:
    """What all VIPs of a network share."""
    sysctls = {
        "net/ipv4/ip_forward": "1",
        "net/bridge/bridge-nf-call-iptables": "1",
        f"net/ipv4/conf/{BRIDGE}/send_redirects": "0",
        "net/ipv4/conf/all/send_redirects": "0",
    }
    if ipv6:
        sysctls |= {"net/ipv6/conf/all/forwarding": "1", "net/bridge/bridge-nf-call-ip6tables": "1"}
    state = NamespaceState(
        tables={TABLE: NftTable(chains=_CHAINS, sets=_sets({name: {} for name in _HEADS}) | late_replies.sets())},
        sysctls=sysctls,
    )
    return {network_key(network_id): state}


def service(network_id: str, vips: Sequence[Vip]) -> Fragment:
    """A service's VIPs: one of each family at most."""
    chains: dict[str, NftChain] = {}
    elements: dict[str, dict[str, str]] = {}
    addresses = set()
    for vip in vips:
        family = 6 if ":" in vip.address else 4
        addresses.add((BRIDGE, f"{vip.address}/{128 if family == 6 else 32}"))
        if vip.backends:
            name = f"vip{family}-{vip.service_id}"
            chains[name] = NftChain(rules=(balance("", vip.backends, f"{vip.service_id} {vip.host}"),))
            elements[f"vips{family}"] = {vip.address: f"jump {name}"}
        else:
            elements[f"refused{family}"] = {vip.address: ""}
    table = NftTable(chains=chains, sets=_sets(elements))
    return {network_key(network_id): NamespaceState(tables={TABLE: table}, addresses=frozenset(addresses))}


def own_addresses(addresses: Sequence[str]) -> dict[str, NftTable]:
    """The tables of a local container, by which it is recognized as its own backend. `addresses` have no prefix lengths."""
    elements: dict[str, dict[str, str]] = {}
    for address in addresses:
        elements.setdefault("own6" if ":" in address else "own4", {})[f"{address} . {address}"] = ""
    return {TABLE: NftTable(sets=_sets(elements))}


def _sets(elements: Mapping[str, Mapping[str, str]]) -> dict[str, NftSet]:
    return {
        name: NftSet(head=_HEADS[name], is_map=name.startswith("vips"), elements=given)
        for name, given in elements.items()
    }


_HEADS = {
    "vips4": "type ipv4_addr : verdict;",
    "vips6": "type ipv6_addr : verdict;",
    "own4": "type ipv4_addr . ipv4_addr;",
    "own6": "type ipv6_addr . ipv6_addr;",
    "refused4": "type ipv4_addr;",
    "refused6": "type ipv6_addr;",
}
_UNTRACKED = ("ip daddr 224.0.0.0/4 notrack", "ip6 daddr ff00::/8 notrack")
_CHAINS = {
    **late_replies.chains(),
    # The bridge's own reports of groups, and containers' multicast, would be connections to look through whenever a backend goes.
    "untracked": NftChain(hook="type filter hook prerouting priority -300; policy accept;", rules=_UNTRACKED),
    "untracked-own": NftChain(hook="type filter hook output priority -300; policy accept;", rules=_UNTRACKED),
    "balance": NftChain(
        hook="type nat hook prerouting priority -100; policy accept;",
        rules=("ip daddr vmap @vips4", "ip6 daddr vmap @vips6"),
    ),
    # A backend that calls its own service would answer itself directly: it sees the VIP as the caller instead.
    "hairpin": NftChain(
        hook="type nat hook postrouting priority 100; policy accept;",
        rules=(
            "ct status & dnat == dnat ip saddr . ip daddr @own4 snat to ct original ip daddr",
            "ct status & dnat == dnat ip6 saddr . ip6 daddr @own6 snat to ct original ip6 daddr",
        ),
    ),
    "refuse": NftChain(
        hook="type filter hook input priority 0; policy accept;",
        rules=(
            "ip daddr @refused4 meta l4proto tcp reject with tcp reset",
            "ip daddr @refused4 reject",
            "ip6 daddr @refused6 meta l4proto tcp reject with tcp reset",
            "ip6 daddr @refused6 reject",
        ),
    ),
}
