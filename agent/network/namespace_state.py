"""Namespace state: what Covey wants in one network namespace, and what the kernel holds there, in one type. Pure.

Invariant: planners return values of these types, and the reader of the kernel returns the same types, so applying and verifying
are the same comparison. Invariant: values are frozen and hold no kernel handle, no interface index and no protobuf message.

A namespace is named by a key: `HOST`, `container/ID` (a container's sandbox) or `network/ID` (the sandbox of an overlay network).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

HOST = "host"
ROUTE_PROTOCOL = 0xC0
"""The `protocol` of every route and policy rule that Covey makes, by which its own are told from others (rtnetlink, RTPROT)."""


def container_key(container_id: str) -> str:
    return f"container/{container_id}"


def network_key(network_id: str) -> str:
    return f"network/{network_id}"


class VethPeer(msgspec.Struct, frozen=True, kw_only=True):
    """The other end of a veth pair, which is made together with the end that names it. `namespace` is a key."""

    namespace: str
    name: str
    mac: str = ""
    mtu: int = 1500


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A network device. Empty or zero fields are left to the kernel and not compared.

    `kind` is the kernel's (`bridge`, `veth`, `vxlan`, `macvlan`, `ipvlan`, `tun`; empty for a device of others, such as loopback,
    of which only the flags below are set). `options` are the kind's own attributes without their prefix (`vxlan_id`, `mode`,
    `vlan_filtering`), `port_options` those of a bridge's port (`isolated`, `hairpin_mode`, `learning`, `unicast_flood`,
    `mcast_flood`, `neigh_suppress`). `parent` is the device below a macvlan or ipvlan, in the namespace `made_in`.

    The end of a veth pair with a `peer` makes the pair. The other end has its own entry, without `peer`, in its own namespace.
    A device with `made_in` is made from that namespace and lives in this one: the UDP socket of a VXLAN device stays with the host.
    """

    kind: str = ""
    mac: str = ""
    mtu: int = 0
    up: bool = True
    master: str = ""
    parent: str = ""
    made_in: str = ""
    peer: VethPeer | None = None
    options: Mapping[str, int | str] = {}
    port_options: Mapping[str, int] = {}


class Route(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A route. `destination` is a prefix, or `default` with the `family` of the gateway. `table` 254 is the main table.

    `kind` is `unicast`, `unreachable` or `blackhole`; `source` the preferred source address; `scope_link` a route without gateway.
    """

    destination: str
    family: int = 4
    gateway: str = ""
    device: str = ""
    source: str = ""
    table: int = 254
    metric: int = 0
    mtu: int = 0
    onlink: bool = False
    kind: str = "unicast"


class PolicyRule(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A rule of policy routing: packets that match look their route up in `table`, or go on at the rule with the priority `goto`."""

    priority: int
    table: int = 0
    goto: int = 0
    family: int = 4
    mark: int = 0
    mask: int = 0
    input_device: str = ""
    source: str = ""


class Neighbour(msgspec.Struct, frozen=True, order=True):
    """A permanent neighbour entry: `address` (either family) has this MAC behind the device."""

    device: str
    address: str
    mac: str


class FdbEntry(msgspec.Struct, frozen=True, order=True):
    """A static forwarding entry of a bridge port, or of a VXLAN device if `host` (the tunnel's other end) is set.

    The all-zero MAC of a VXLAN device is the head-end replication list: it may have many hosts.
    """

    device: str
    mac: str
    host: str = ""


class NftChain(msgspec.Struct, frozen=True, kw_only=True):
    """A chain of nftables. `hook` is a base chain's head, `type nat hook prerouting priority -100; policy accept;`, else empty.

    `rules` are in nft's language. A chain that the kernel holds and that was not loaded from these rules compares as different.
    """

    hook: str = ""
    rules: tuple[str, ...] = ()


class NftSet(msgspec.Struct, frozen=True, kw_only=True):
    """A set or, if `is_map`, a map. `head` is what stands before its elements: `type inet_proto . inet_service : ipv4_addr;`.

    `elements` are keys and values in nft's language in its normal form ("tcp . 8080"); a set's values are empty.
    """

    head: str
    is_map: bool = False
    elements: Mapping[str, str] = {}


class NftTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table of Covey's own. Parts of several fragments with the same key are one table, their sets' elements together."""

    chains: Mapping[str, NftChain] = {}
    sets: Mapping[str, NftSet] = {}


class NamespaceState(msgspec.Struct, frozen=True, kw_only=True):
    """What one namespace holds, or a fragment of it.

    `links` are by device name, `addresses` pairs of device and `ADDRESS/PREFIX` (either family), `tables` by `inet NAME`,
    `sysctls` by their path below /proc/sys (`net/ipv4/ip_forward`).

    In the host's namespace only what is marked as Covey's is compared: devices and tables that start with the daemon's prefix,
    routes and rules with `ROUTE_PROTOCOL`, addresses, neighbours and forwarding entries of those devices. Everything in the
    sandbox of a network is Covey's. In a container's namespace the container may add what it likes: only what is wanted is compared.
    """

    links: Mapping[str, Link] = {}
    addresses: frozenset[tuple[str, str]] = frozenset()
    routes: frozenset[Route] = frozenset()
    rules: frozenset[PolicyRule] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()
    fdb: frozenset[FdbEntry] = frozenset()
    tables: Mapping[str, NftTable] = {}
    sysctls: Mapping[str, str] = {}


Fragment = Mapping[str, NamespaceState]
"""A part of the wanted state, by namespace: all that one network, endpoint, published port or service needs.

Invariant: fragments are disjoint, but for equal items: two fragments may both declare a set, chain, sysctl or link with equal
contents. An item is removed when its last fragment is.
"""
