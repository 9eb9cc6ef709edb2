"""An overlay network on this host as fragments: a bridge and a VXLAN device in the network's sandbox, and who is behind which host. Pure.

Invariant: forwarding entries come from the cluster's state and are never learnt. Invariant: the VXLAN device is made from the host's
namespace, so its UDP socket stays with the host while its bridge is out of reach of the host's firewall.

The VXLAN device answers ARP and neighbour solicitations for remote endpoints itself (`proxy`). What nobody answers ends there: without
an all-zero entry the device sends no copies to other hosts. A network with `multicast` has one for each host with an endpoint of it:
the device sends a copy of every broadcast and multicast there (head-end replication). Unknown unicast never comes to the device,
because the bridge floods none to its port, and ARP still ends at the proxy. The bridge has a permanent neighbour for every endpoint,
because it leads connections to VIPs there.
"""

from __future__ import annotations

from ipaddress import ip_interface

import msgspec

from agent.network.namespace_state import (
    HOST,
    FdbEntry,
    Fragment,
    Link,
    NamespaceState,
    Neighbour,
    Route,
    VethPeer,
    container_key,
    network_key,
)
from agent.network.plan import members
from agent.network.plan.encryption import ANY_SOURCE
from agent.network.plan.items import REPLICATION_MAC
from agent.network.plan.names import port_name

BRIDGE, TUNNEL = "br0", "vxlan0"
_NO_LINK_LOCAL = "1"


class Overlay(msgspec.Struct, frozen=True, kw_only=True):
    """A network as this host carries it. `host` and `port` are this end of the tunnels.

    `gateways` are addresses with prefix lengths, which the bridge has; `subnets` those without a gateway. `mac` is the bridge's own, the
    same on all hosts. `prefix` begins the names of tables in the host's namespace.
    """

    id: str
    prefix: str
    vni: int
    mtu: int
    host: str
    port: int
    mac: str
    gateways: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    multicast: bool = False
    source: str = ""
    """The source of VXLAN packets, if it is another address than `host`."""

    @property
    def is_encrypted(self) -> bool:
        """Whether `encryption` guards it: the route to another host decides the source."""
        return self.source == ANY_SOURCE

    @property
    def has_ipv6(self) -> bool:
        return any(":" in each for each in (*self.gateways, *self.subnets))


class OverlayEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint on another host: addresses without prefix, "" for none of that family. `host` is the tunnel's end at its node."""

    address: str
    address6: str = ""
    mac: str
    host: str


class OverlayInterface(msgspec.Struct, frozen=True, kw_only=True):
    """A local container's interface. `addresses` have prefix lengths."""

    container_id: str
    name: str
    mac: str
    addresses: tuple[str, ...]


def network(overlay: Overlay) -> Fragment:
    """The sandbox with its bridge and its VXLAN device, and the rule that guards it in the host's namespace."""
    tunnel: dict[str, int | str] = {
        "vxlan_id": overlay.vni,
        "vxlan_local": overlay.source or overlay.host,
        "vxlan_port": overlay.port,
        "vxlan_learning": 0,
        "vxlan_proxy": 1,
        "vxlan_l2miss": 0,
        "vxlan_l3miss": 0,
    }
    options: dict[str, int | str] = {"mcast_snooping": 0} if overlay.has_ipv6 or overlay.multicast else {}
    sysctls = {"net/ipv6/conf/default/disable_ipv6": "1"}
    if overlay.has_ipv6:
        for device in (BRIDGE, TUNNEL):
            sysctls |= _ipv6_sysctls(device) | {f"net/ipv6/conf/{device}/addr_gen_mode": _NO_LINK_LOCAL}
    state = NamespaceState(
        links={
            "lo": Link(),
            BRIDGE: Link(kind="bridge", mac=overlay.mac, mtu=overlay.mtu, options=options),
            TUNNEL: Link(
                kind="vxlan",
                mtu=overlay.mtu,
                master=BRIDGE,
                made_in=HOST,
                options=tunnel,
                port_options={"learning": 0, "unicast_flood": 0},
            ),
        },
        addresses=frozenset((BRIDGE, address) for address in overlay.gateways),
        routes=frozenset(
            Route(destination=subnet, family=6 if ":" in subnet else 4, device=BRIDGE) for subnet in overlay.subnets
        ),
        sysctls=sysctls,
    )
    if overlay.is_encrypted:
        return {network_key(overlay.id): state}
    guard = NamespaceState(tables=members.network(overlay.prefix, overlay.vni, overlay.port))
    return {HOST: guard, network_key(overlay.id): state}


def remote_endpoint(overlay: Overlay, endpoint: OverlayEndpoint) -> Fragment:
    """An endpoint on another host: its host, and the neighbour entries by which this host answers for it and reaches it.

    All endpoints of a host want the same replication entry and make it the same member, both of which go with the last of them.
    """
    entries = {FdbEntry(TUNNEL, endpoint.mac, endpoint.host), FdbEntry(TUNNEL, endpoint.mac)}
    if overlay.multicast:
        entries.add(FdbEntry(TUNNEL, REPLICATION_MAC, endpoint.host))
    addresses = [address for address in (endpoint.address, endpoint.address6) if address]
    member = {
        HOST: NamespaceState(tables=members.member(overlay.prefix, overlay.vni, endpoint.host)),
    }
    return {
        **({} if overlay.is_encrypted else member),
        network_key(overlay.id): NamespaceState(
            fdb=frozenset(entries),
            neighbours=frozenset(
                Neighbour(device, address, endpoint.mac) for device in (TUNNEL, BRIDGE) for address in addresses
            ),
        ),
    }


def interface(overlay: Overlay, attached: OverlayInterface) -> Fragment:
    """A local container's interface: a veth pair from the bridge into the container."""
    port = port_name(attached.container_id, attached.name)
    peer = VethPeer(
        namespace=container_key(attached.container_id), name=attached.name, mac=attached.mac, mtu=overlay.mtu
    )
    has_ipv6 = any(":" in address for address in attached.addresses)
    inside = NamespaceState(
        links={attached.name: Link(kind="veth", mac=attached.mac, mtu=overlay.mtu)},
        addresses=frozenset((attached.name, address) for address in attached.addresses),
        sysctls=_ipv6_sysctls(attached.name) if has_ipv6 else {},
    )
    outer = Link(
        kind="veth",
        mtu=overlay.mtu,
        master=BRIDGE,
        peer=peer,
        # A connection of a backend to its own VIP goes back out of the port that it came from.
        port_options={"learning": 0, "unicast_flood": 0, "hairpin_mode": 1},
    )
    outside = NamespaceState(
        links={port: outer},
        fdb=frozenset({FdbEntry(port, attached.mac)}),
        neighbours=frozenset(
            Neighbour(BRIDGE, str(ip_interface(each).ip), attached.mac) for each in attached.addresses
        ),
    )
    return {network_key(overlay.id): outside, container_key(attached.container_id): inside}


def _ipv6_sysctls(device: str) -> dict[str, str]:
    folder = f"net/ipv6/conf/{device}"
    return {f"{folder}/accept_dad": "0", f"{folder}/accept_ra": "0", f"{folder}/disable_ipv6": "0"}
