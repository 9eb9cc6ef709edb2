"""Devices that tests build by themselves: bridges, veth pairs, VXLAN devices, addresses. Built with pyroute2, not by the product's planners.

Functions with a `route` parameter run inside `agent.network.links.run_in_namespace`.
"""

from __future__ import annotations

from ipaddress import ip_interface
from typing import Any

from agent.network.links import index_of
from agent.network.model import TunnelEndpoint
from agent.network.netns import Namespace
from covey.mac_address import derived_mac


def link_mac(route: Any, index: int) -> str:
    return str(route.get_links(index)[0].get_attr("IFLA_ADDRESS") or "")


def ensure_bridge(route: Any, name: str, mtu: int, address: str = "") -> int:
    """Create a bridge or update it, set it up and assign `address` (with prefix). Returns its index."""
    index = index_of(route, name)
    if not index:
        hardware = {"address": derived_mac(address)} if address else {}
        route.link("add", ifname=name, kind="bridge", mtu=mtu, **hardware)
        index = index_of(route, name)
    ensure_mtu(route, name, mtu)
    if address:
        ensure_address(route, index, address)
    route.link("set", index=index, state="up")
    return index


def ensure_mtu(route: Any, name: str, mtu: int) -> None:
    """Set the MTU of a device, if the device exists."""
    index = index_of(route, name)
    if index and route.get_links(index)[0].get_attr("IFLA_MTU") != mtu:
        route.link("set", index=index, mtu=mtu)


def ensure_address(route: Any, index: int, address: str) -> None:
    interface = ip_interface(address)
    route.addr("replace", index=index, address=str(interface.ip), prefixlen=interface.network.prefixlen)


def add_vxlan(route: Any, name: str, into: Namespace, *, vni: int, local: TunnelEndpoint, mtu: int) -> None:
    """Create a VXLAN device in `into`. Its UDP socket stays in the namespace of `route`, the host's."""
    route.link(
        "add", ifname=name, kind="vxlan", mtu=mtu, net_ns_fd=into.fd, vxlan_id=vni, vxlan_local=local.address, vxlan_port=local.port,
        vxlan_learning=0, vxlan_proxy=1, vxlan_l2miss=0, vxlan_l3miss=0,
    )  # fmt: skip


def add_veth(route: Any, port: str, into: Namespace, *, inner: str, inner_mac: str, mtu: int) -> int:
    """Create a veth pair. The peer appears in `into` with its final name and MAC address. Returns the index of `port`."""
    peer = {"ifname": inner, "net_ns_fd": into.fd, "address": inner_mac, "mtu": mtu}
    route.link("add", ifname=port, kind="veth", mtu=mtu, peer=peer)
    return index_of(route, port)


def join_bridge(
    route: Any, port: int, bridge: int, *, isolated: bool = False, static_fdb: bool = True, hairpin: bool = False
) -> None:
    """Add a port to a bridge. A `static_fdb` port does not learn addresses and receives no frames for unknown ones.

    A `hairpin` port gets frames back that it sent: where br_netfilter is on, those that were translated to its own address.
    """
    route.link("set", index=port, master=bridge, state="up")
    options: dict[str, int] = {"brport_isolated": 1} if isolated else {}
    if hairpin:
        options |= {"brport_mode": 1}
    if static_fdb:
        options |= {"brport_learning": 0, "brport_unicast_flood": 0}
    if options:
        route.brport("set", index=port, **{key.removeprefix("brport_"): value for key, value in options.items()})
