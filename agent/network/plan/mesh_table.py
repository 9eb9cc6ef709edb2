"""The table of nftables of the routing mesh: its maps and sets, and the chains that all connections of the mesh share. Pure.

Invariant: a packet that is not for the mesh costs a chain or two a hook and a rule or two in each. What is rare (the first packet of a TCP
connection, one that conntrack does not know) is told by the first match of a rule, and looked at in a chain of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.network.namespace_state import NftChain, NftSet
from agent.network.plan import late_replies, mesh_marks
from agent.network.plan.mesh_model import Mesh

REFUSED = "refused"


def mesh_sets(
    *,
    snat: Sequence[str] = (),
    marks: dict[str, str] | None = None,
    zones: dict[str, str] | None = None,
    local4: dict[str, str] | None = None,
    local6: dict[str, str] | None = None,
    hairpin: Sequence[str] = (),
    ports4: dict[str, str] | None = None,
    ports6: dict[str, str] | None = None,
    refused: dict[str, str] | None = None,
) -> dict[str, NftSet]:
    """All sets of the table, with these elements."""
    v4, v6 = [item for item in snat if ":" not in item], [item for item in snat if ":" in item]
    elements: dict[str, dict[str, str]] = {
        "marks": marks or {},
        "zones": zones or {},
        "local4": local4 or {},
        "local6": local6 or {},
        "snat4": dict.fromkeys(v4, ""),
        "snat6": dict.fromkeys(v6, ""),
        "hairpin4": {f"{item} . {item}": "" for item in hairpin if ":" not in item},
        "hairpin6": {f"{item} . {item}": "" for item in hairpin if ":" in item},
        "ports4": ports4 or {},
        "ports6": ports6 or {},
        REFUSED: refused or {},
    }
    return {name: NftSet(head=head, is_map=" : " in head, elements=elements[name]) for name, head in _SET_HEADS.items()}


_SET_HEADS = {
    "marks": "type ether_addr : mark;",
    "zones": "typeof ether saddr : ct zone;",
    "local4": "type ipv4_addr : ipv4_addr;",
    "local6": "type ipv6_addr : ipv6_addr;",
    "snat4": "type ipv4_addr; flags interval;",
    "snat6": "type ipv6_addr; flags interval;",
    "hairpin4": "type ipv4_addr . ipv4_addr; flags interval;",
    "hairpin6": "type ipv6_addr . ipv6_addr; flags interval;",
    "ports4": "type inet_proto . inet_service : verdict;",
    "ports6": "type inet_proto . inet_service : verdict;",
    REFUSED: "type nf_proto . inet_proto . inet_service;",
}


# The address is compared first: for most packets it is the only thing that is looked at.
_GUARD = ('ip daddr 127.0.0.0/8 iifname != "lo" drop', 'ip saddr 127.0.0.0/8 iifname != "lo" drop')


def mesh_chains(mesh: Mesh) -> dict[str, NftChain]:
    device, own = f'"{mesh.device}"', mesh.own
    enter = (
        "meta nfproto ipv4 fib daddr type local meta l4proto { tcp, udp, sctp } meta l4proto . th dport vmap @ports4",
        "meta nfproto ipv6 fib daddr type local meta l4proto { tcp, udp, sctp } meta l4proto . th dport vmap @ports6",
    )
    of_nodes4, of_nodes6 = (
        ("meta nfproto ipv4", "meta nfproto ipv6") if mesh.snat else ("ip saddr @snat4", "ip6 saddr @snat6")
    )
    to_mesh6 = f"oifname {device} {of_nodes6} snat ip6 to {own.address6}"
    return {
        **({} if mesh.snat else mesh_marks.chains(device)),
        **late_replies.chains(leaving=() if mesh.snat else (mesh_marks.wipe(device),)),
        "arrive": NftChain(
            hook="type filter hook prerouting priority -320; policy accept;",
            rules=(*_GUARD, *(() if mesh.snat else mesh_marks.on_arrival(device))),
        ),
        "enter": NftChain(
            hook="type nat hook prerouting priority -100; policy accept;",
            rules=(
                f"iifname {device} dnat ip to ip daddr map @local4",
                f"iifname {device} dnat ip6 to ip6 daddr map @local6",
                *enter,
            ),
        ),
        "own": NftChain(hook="type nat hook output priority -100; policy accept;", rules=enter),
        "refuse": NftChain(
            hook="type filter hook input priority 0; policy accept;",
            rules=(f"ct state invalid,new meta nfproto . meta l4proto . th dport @{REFUSED} jump {REFUSED}",),
        ),
        REFUSED: NftChain(rules=("meta l4proto tcp reject with tcp reset", "reject")),
        # The container's MTU is the host's, and the tunnel carries less. Path MTU discovery may be blocked on the way.
        "clamp": NftChain(
            hook="type filter hook forward priority 0; policy accept;", rules=("tcp flags syn jump segments",)
        ),
        "segments": NftChain(
            rules=(
                f"oifname {device} tcp option maxseg size set rt mtu",
                f"iifname {device} ip version 4 tcp option maxseg size set {mesh.mtu - 40}",
                f"iifname {device} ip6 version 6 tcp option maxseg size set {mesh.mtu - 60}",
            )
        ),
        "leave": NftChain(
            hook="type nat hook postrouting priority 100; policy accept;",
            rules=(
                "ct status & dnat == dnat ip saddr 127.0.0.0/8 masquerade",
                "ct status & dnat == dnat ip saddr . ip daddr @hairpin4 masquerade",
                "ct status & dnat == dnat ip6 saddr . ip6 daddr @hairpin6 masquerade",
                f"oifname {device} {of_nodes4} snat ip to {own.address}",
                *((to_mesh6,) if own.address6 else ()),
            ),
        ),
    }
