"""Which hosts may send VXLAN of plaintext overlay networks to this one, as parts of fragments of the host's namespace. Pure.

A member of a network is a host with an endpoint of it. Its element is part of its endpoints' fragments, so it comes before the forwarding
entries that lead there, and goes with the last of them. Encrypted networks are guarded by `encryption`; what arrives through their
devices is not looked at here.

Invariant: VXLAN with the id of a plaintext network of this host enters only from a member of the network; other such packets are dropped
and counted. VXLAN with an unknown id is counted and left to the kernel, which drops it unless another program has a device for it.
"""

from __future__ import annotations

from ipaddress import ip_address

from agent.network.namespace_state import NftChain, NftSet, NftTable
from agent.network.plan.encryption import device_names

STRANGERS, UNKNOWN = "not from a member", "unknown VXLAN id"
"""Comments of the rules that count, by which their counters are found."""
CHAIN = "input"
_VNI = "@th,96,24"
_PORTS, _VNIS, _MEMBERS4, _MEMBERS6 = "ports", "vnis", "members4", "members6"


def table_name(prefix: str) -> str:
    return f"inet {prefix}-members"


def network(prefix: str, vni: int, port: int) -> dict[str, NftTable]:
    """The rules that all networks share, and a network's VXLAN id at the tunnels' port."""
    known = f"udp dport @{_PORTS} {_VNI} @{_VNIS}"
    tunnels = ", ".join(f'"{name}"' for name in device_names(prefix))
    chain = NftChain(
        # After the guard of encrypted networks, which counts their own.
        hook="type filter hook input priority filter - 9; policy accept;",
        rules=(
            f"iifname {{ {tunnels} }} accept",
            f'udp dport @{_PORTS} {_VNI} != @{_VNIS} counter comment "{UNKNOWN}"',
            f'{known} ip saddr . {_VNI} != @{_MEMBERS4} counter drop comment "{STRANGERS}"',
            f'{known} ip6 saddr . {_VNI} != @{_MEMBERS6} counter drop comment "{STRANGERS}"',
        ),
    )
    sets = {
        _PORTS: NftSet(head="type inet_service;", elements={str(port): ""}),
        _VNIS: NftSet(head=f"typeof {_VNI};", elements={hex(vni): ""}),
        **{name: _members(name) for name in (_MEMBERS4, _MEMBERS6)},
    }
    return {table_name(prefix): NftTable(chains={CHAIN: chain}, sets=sets)}


def member(prefix: str, vni: int, host: str) -> dict[str, NftTable]:
    """A host that may send with a VXLAN id. `host` is its end of the tunnels."""
    address = ip_address(host)
    name = _MEMBERS6 if address.version == 6 else _MEMBERS4
    return {table_name(prefix): NftTable(sets={name: _members(name, f"{address} . {vni:#x}")})}


def _members(name: str, *elements: str) -> NftSet:
    family = "ip6" if name == _MEMBERS6 else "ip"
    return NftSet(head=f"typeof {family} saddr . {_VNI};", elements=dict.fromkeys(elements, ""))
