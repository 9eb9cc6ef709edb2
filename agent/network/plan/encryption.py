"""Encrypted tunnels of this host as fragments: the WireGuard device, what it may carry, and what may not go past it. Pure.

VXLAN of encrypted networks is addressed to addresses inside the tunnels. Each node has one, which follows from its id, and others send to
it. Each key has one too, which is the source of what is sent with it. So the sender alone decides which of its keys it uses, by the source
and device of its routes, and which of the receiver's keys, by the key to which it gives the receiver's address.

Invariant: an address inside the tunnels never leaves this host but through a WireGuard device. Invariant: VXLAN with the id of an
encrypted network enters only from there; other such packets are dropped and counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Network

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
)

SUBNET = IPv6Network("fdc0:7e1d:5ec0::/48")
"""All addresses inside the tunnels."""
ANY_SOURCE = "::"
"""This host's end of the VXLAN tunnels of encrypted networks: the route decides the source."""
_NODE, _KEY = 1, 2
_VNIS = "vnis"
_METRIC = 1024
_LAST_METRIC = 1 << 20


class TunnelDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A WireGuard device of this host, and the public half of its key."""

    name: str
    public_key: str


class TunnelHost(msgspec.Struct, frozen=True, kw_only=True):
    """This host's end. It receives on all `devices` and sends by the one named `sender`. `kind` is the kernel's name for them.

    While keys are rotated there are two devices, else one. `vxlan_port` is the port of all hosts.
    """

    prefix: str
    kind: str
    mtu: int
    devices: tuple[TunnelDevice, ...]
    sender: str
    vxlan_port: int
    node_id: str = ""


class TunnelPeer(msgspec.Struct, frozen=True, kw_only=True):
    """Another node. `host` is its underlay address. It may still send with `previous_key`, "" for none."""

    node_id: str
    host: str
    public_key: str
    port: int
    previous_key: str = ""


class PeerKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a WireGuard device is told of a peer's key. Without an `endpoint` it answers to where packets came from."""

    allowed: frozenset[str]
    endpoint: str = ""


def device_names(prefix: str) -> tuple[str, str]:
    """The names of the two devices that exist while keys are rotated."""
    return f"{prefix}-wg0", f"{prefix}-wg1"


def table_name(prefix: str) -> str:
    return f"inet {prefix}-encryption"


def node_address(node_id: str) -> str:
    """The address inside the tunnels to which others send what is for a node."""
    return _address(_NODE, node_id)


def key_address(public_key: str) -> str:
    """The source of what is sent with a key."""
    return _address(_KEY, public_key)


def base(host: TunnelHost) -> Fragment:
    """The devices with their addresses, and the rules that keep plaintext in and out."""
    names = [device.name for device in host.devices]
    addresses = {(device.name, f"{key_address(device.public_key)}/128") for device in host.devices}
    if host.node_id:
        addresses |= {(name, f"{node_address(host.node_id)}/128") for name in names}
    sysctls = {
        f"net/ipv6/conf/{name}/{key}": value
        for name in names
        for key, value in (("disable_ipv6", "0"), ("accept_ra", "0"), ("addr_gen_mode", "1"))
    }
    state = NamespaceState(
        links={name: Link(kind=host.kind, mtu=host.mtu) for name in names},
        addresses=frozenset(addresses),
        routes=frozenset({Route(destination=str(SUBNET), family=6, kind="unreachable", metric=_LAST_METRIC)}),
        tables={table_name(host.prefix): guard(host.prefix, host.vxlan_port)},
        sysctls=sysctls,
    )
    return {HOST: state}


def guard(prefix: str, vxlan_port: int, *vnis: int) -> NftTable:
    """The rules that keep plaintext of the networks with these VXLAN ids in and out."""
    ours = ", ".join(f'"{name}"' for name in device_names(prefix))
    return NftTable(
        chains={
            "input": NftChain(
                hook="type filter hook input priority filter - 10; policy accept;",
                rules=(
                    f"iifname != {{ {ours} }} udp dport {vxlan_port} @th,96,24 @{_VNIS} counter drop",
                    f'iifname != {{ "lo", {ours} }} ip6 daddr {SUBNET} counter drop',
                ),
            ),
            "output": NftChain(
                hook="type filter hook output priority filter - 10; policy accept;",
                rules=(f'oifname != {{ "lo", {ours} }} ip6 daddr {SUBNET} counter drop',),
            ),
        },
        sets={_VNIS: _vni_set(*vnis)},
    )


def peer(host: TunnelHost, other: TunnelPeer) -> Fragment:
    """The routes to another node, and those by which its packets are expected on every device."""
    sender = next(device for device in host.devices if device.name == host.sender)
    routes = {
        Route(
            destination=f"{node_address(other.node_id)}/128",
            family=6,
            device=sender.name,
            source=key_address(sender.public_key),
            metric=_METRIC,
        )
    }
    for key in filter(None, (other.public_key, other.previous_key)):
        for device in host.devices:
            metric = _METRIC + device_names(host.prefix).index(device.name)
            routes.add(Route(destination=f"{key_address(key)}/128", family=6, device=device.name, metric=metric))
    return {HOST: NamespaceState(routes=frozenset(routes))}


def network(prefix: str, vni: int) -> Fragment:
    """An encrypted network: its VXLAN id is refused outside the tunnels."""
    return {HOST: NamespaceState(tables={table_name(prefix): NftTable(sets={_VNIS: _vni_set(vni)})})}


def peer_keys(other: TunnelPeer) -> dict[str, PeerKey]:
    """What every device of this host is told of a node: what is for it goes to its present key."""
    host = f"[{other.host}]" if ":" in other.host else other.host
    allowed = frozenset({f"{key_address(other.public_key)}/128", f"{node_address(other.node_id)}/128"})
    keys = {other.public_key: PeerKey(allowed=allowed, endpoint=f"{host}:{other.port}")}
    if other.previous_key:
        keys[other.previous_key] = PeerKey(allowed=frozenset({f"{key_address(other.previous_key)}/128"}))
    return keys


def introductions(have: Mapping[str, PeerKey], want: Mapping[str, PeerKey]) -> dict[str, PeerKey]:
    """The keys that a device does not know yet, without the addresses that others hold: those move once the device has a session
    with the new key. What is given to a key in the step that makes it known is lost, if wireguard-go gets a packet for it meanwhile.
    """
    held = frozenset[str]().union(*(found.allowed for found in have.values()))
    return {
        key: msgspec.structs.replace(found, allowed=found.allowed - held)
        for key, found in want.items()
        if key not in have
    }


def key_changes(have: Mapping[str, PeerKey], want: Mapping[str, PeerKey]) -> Iterator[tuple[str, ...]]:
    """The arguments of ``wg set DEVICE`` that lead from one set of peers to another, in order.

    An address that moves to another key does so in one step, because the new key takes it. An endpoint that is not wanted stays.
    """
    held = {key: set(found.allowed) for key, found in have.items()}
    for key in sorted(want, key=lambda one: (one in have, one)):
        wanted = want[key]
        moved = bool(wanted.endpoint) and wanted.endpoint != (have[key].endpoint if key in have else "")
        if key in held and held[key] == set(wanted.allowed) and not moved:
            continue
        endpoint = ("endpoint", wanted.endpoint) if moved else ()
        yield ("peer", key, *endpoint, "allowed-ips", ",".join(sorted(wanted.allowed)))
        for addresses in held.values():
            addresses.difference_update(wanted.allowed)
        held[key] = set(wanted.allowed)
    for key in sorted(held.keys() - want.keys()):
        yield ("peer", key, "remove")


def _vni_set(*vnis: int) -> NftSet:
    return NftSet(head="typeof @th,96,24;", elements={hex(vni): "" for vni in vnis})


def _address(kind: int, text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return str(SUBNET[(kind << 64) + int.from_bytes(digest[:8], "big")])
