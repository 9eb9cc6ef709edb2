"""An overlay network on this host as fragments: a bridge and a VXLAN device in the network's sandbox, and who is behind which host. Pure.

Invariant: forwarding entries come from the cluster's state and are never learnt. Invariant: the VXLAN device is made from the host's
namespace, so its UDP socket stays with the host while its bridge is out of reach of the host's firewall.
"""

from __future__ import annotations

import msgspec

from agent.network.namespace_state import (
    HOST,
    FdbEntry,
    Fragment,
    Link,
    NamespaceState,
    Neighbour,
    VethPeer,
    container_key,
    network_key,
)

BRIDGE, TUNNEL = "br0", "vxlan0"
ALL_ZERO = "00:00:00:00:00:00"


class Overlay(msgspec.Struct, frozen=True, kw_only=True):
    """A network as this host carries it. `gateways` are addresses with prefix, of either family, that the bridge has. `host` and `port` are
    this end of the tunnels. `broadcast` floods broadcast and multicast to every host of the network.
    """

    id: str
    vni: int
    mtu: int
    host: str
    port: int
    gateways: tuple[str, ...] = ()
    mac: str = ""
    broadcast: bool = False


class OverlayEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint on the network: addresses without prefix, "" for none of that family. `host` is the tunnel's end at its node."""

    address: str
    address6: str = ""
    mac: str
    host: str = ""


class OverlayInterface(msgspec.Struct, frozen=True, kw_only=True):
    """A local container's interface: `port` is its end in the sandbox, `addresses` have prefixes."""

    container_id: str
    name: str
    port: str
    mac: str
    addresses: tuple[str, ...]


def network(overlay: Overlay) -> Fragment:
    """The sandbox with its bridge and its VXLAN device."""
    local = "vxlan_local6" if ":" in overlay.host else "vxlan_local"
    tunnel: dict[str, int | str] = {
        "vxlan_id": overlay.vni,
        local: overlay.host,
        "vxlan_port": overlay.port,
        "vxlan_learning": 0,
        "vxlan_proxy": 1,
        "vxlan_l2miss": 0,
        "vxlan_l3miss": 0,
    }
    flood = {"mcast_flood": int(overlay.broadcast), "bcast_flood": int(overlay.broadcast)}
    state = NamespaceState(
        links={
            BRIDGE: Link(kind="bridge", mac=overlay.mac, mtu=overlay.mtu, options={"br_mcast_snooping": 0}),
            TUNNEL: Link(
                kind="vxlan",
                mtu=overlay.mtu,
                master=BRIDGE,
                made_in=HOST,
                options=tunnel,
                port_options={"learning": 0, "unicast_flood": 0, **flood},
            ),
        },
        addresses=frozenset((BRIDGE, address) for address in overlay.gateways),
        sysctls={f"net/ipv6/conf/{BRIDGE}/disable_ipv6": "0" if any(":" in item for item in overlay.gateways) else "1"},
    )
    return {network_key(overlay.id): state}


def remote_endpoint(overlay: Overlay, endpoint: OverlayEndpoint) -> Fragment:
    """An endpoint on another host: its host, and the neighbour entries by which this host answers for it."""
    addresses = [address for address in (endpoint.address, endpoint.address6) if address]
    return {
        network_key(overlay.id): NamespaceState(
            fdb=frozenset({FdbEntry(TUNNEL, endpoint.mac, endpoint.host), FdbEntry(TUNNEL, endpoint.mac)}),
            neighbours=frozenset(Neighbour(TUNNEL, address, endpoint.mac) for address in addresses),
        )
    }


def remote_host(overlay: Overlay, host: str) -> Fragment:
    """Another host of a network with broadcast: it gets a copy of each broadcast and multicast frame."""
    return {network_key(overlay.id): NamespaceState(fdb=frozenset({FdbEntry(TUNNEL, ALL_ZERO, host)}))}


def interface(overlay: Overlay, attached: OverlayInterface) -> Fragment:
    """A local container's interface: a veth pair from the bridge into the container."""
    peer = VethPeer(
        namespace=container_key(attached.container_id), name=attached.name, mac=attached.mac, mtu=overlay.mtu
    )
    has_ipv6 = any(":" in address for address in attached.addresses)
    inside = NamespaceState(
        links={attached.name: Link(kind="veth", mac=attached.mac, mtu=overlay.mtu)},
        addresses=frozenset((attached.name, address) for address in attached.addresses),
        sysctls={f"net/ipv6/conf/{attached.name}/disable_ipv6": "0" if has_ipv6 else "1"},
    )
    port = Link(
        kind="veth",
        mtu=overlay.mtu,
        master=BRIDGE,
        peer=peer,
        port_options={"learning": 0, "unicast_flood": 0, "hairpin_mode": 1},
    )
    outside = NamespaceState(links={attached.port: port}, fdb=frozenset({FdbEntry(attached.port, attached.mac)}))
    return {network_key(overlay.id): outside, container_key(attached.container_id): inside}
