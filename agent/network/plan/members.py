"""Which hosts may send VXLAN of plaintext overlay networks to this one, as parts of fragments of the host's namespace. Pure.

A member of a network is a host with an endpoint of it. Its element is part of its endpoints' fragments, so it comes before the forwarding
entries that lead there, and goes with the last of them. Encrypted networks are guarded by `encryption`; what arrives through their
devices is not looked at here.

Invariant: VXLAN with the id of a plaintext network of this host enters only from a member of the network; other such packets are dropped
and counted. VXLAN with an unknown id is counted and left to the kernel, which drops it unless another program has a device for it.
Invariant: conntrack does not see the tunnels' packets.
"""

from __future__ import annotations

from ipaddress import ip_address

from agent.network.namespace_state import NftChain, NftSet, NftTable
from agent.network.plan.encryption import device_names

STRANGERS, UNKNOWN = "not from a member", "unknown VXLAN id"
"""Comments of the rules that count, by which their counters are found."""
CHAIN = "tunnels"
_VNI = "@th,96,24"
VNIS = "vnis"
_PORTS, _MEMBERS4, _MEMBERS6 = "ports", "members4", "members6"


def table_name(prefix: str) -> str:
    return f"inet {prefix}-members"


def network(prefix: str, vni: int, port: int) -> dict[str, NftTable]:
    """The rules that all networks share, and a network's VXLAN id at the tunnels' port."""
    tunnels = f"udp dport @{_PORTS}"
    encrypted = ", ".join(f'"{name}"' for name in device_names(prefix))
    untracked = (f"{tunnels} notrack",)
    chains = {
        # After the guard of encrypted networks, which counts their own.
        "input": NftChain(
            hook="type filter hook input priority filter - 9; policy accept;", rules=(f"{tunnels} jump {CHAIN}",)
        ),
        CHAIN: NftChain(
            rules=(
                f"ip saddr . {_VNI} @{_MEMBERS4} accept",
                f"ip6 saddr . {_VNI} @{_MEMBERS6} accept",
                f"iifname {{ {encrypted} }} accept",
                f'{_VNI} != @{VNIS} counter accept comment "{UNKNOWN}"',
                f'counter drop comment "{STRANGERS}"',
            )
        ),
        # A tunnel chooses its source port by the connection inside, so each one would be two connections more to the host.
        "untracked": NftChain(hook="type filter hook prerouting priority -300; policy accept;", rules=untracked),
        "untracked-own": NftChain(hook="type filter hook output priority -300; policy accept;", rules=untracked),
    }
    sets = {
        _PORTS: NftSet(head="type inet_service;", elements={str(port): ""}),
        VNIS: NftSet(head=f"typeof {_VNI};", elements={hex(vni): ""}),
        **{name: _members(name) for name in (_MEMBERS4, _MEMBERS6)},
    }
    return {table_name(prefix): NftTable(chains=chains, sets=sets)}


def member(prefix: str, vni: int, host: str) -> dict[str, NftTable]:
    """A host that may send with a VXLAN id. `host` is its end of the tunnels."""
    name = members_of(host)
    return {table_name(prefix): NftTable(sets={name: _members(name, f"{ip_address(host)} . {vni:#x}")})}


def members_of(host: str) -> str:
    """The set that a host with this address is in."""
    return _MEMBERS6 if ip_address(host).version == 6 else _MEMBERS4


def _members(name: str, *elements: str) -> NftSet:
    family = "ip6" if name == _MEMBERS6 else "ip"
    return NftSet(head=f"typeof {family} saddr . {_VNI};", elements=dict.fromkeys(elements, ""))
