"""Overlay network on this host: a namespace with a bridge, a VXLAN device and the forwarding entries.

Invariant: the VXLAN device is created from the host's namespace inside the sandbox, so its UDP socket stays with the host.
Invariant: forwarding entries are programmed, never learnt.

A sandbox found on disk is adopted with the entries that the kernel holds. Called on the driver's thread.
"""

from __future__ import annotations

import errno
import hashlib
import logging
from pathlib import Path
from typing import Any

from agent.network import fdb, fdb_netlink, links, netns
from agent.network.fdb import FdbPlan
from agent.network.model import Attachment, OverlayNetwork, TunnelEndpoint, mac_address
from agent.network.netns import Namespace
from agent.network.pyroute import NetlinkError
from covey.errors import UnavailableError

logger = logging.getLogger(__name__)

BRIDGE, VXLAN_DEVICE = "br0", "vxlan0"
_NEIGHBOUR_FAMILY, _BRIDGE_FAMILY = 2, 7


class OverlaySandbox:
    """The sandbox of one network. `programmed` is the FDB in the kernel: remote endpoint address to its host."""

    def __init__(
        self, network: OverlayNetwork, path: Path, host: Namespace, endpoint: TunnelEndpoint, mtu: int
    ) -> None:
        self.network = network
        self._path = path
        self._host = host
        self._endpoint = endpoint
        self._mtu = mtu
        self._ports_with_mtu: set[str] = set()
        found = netns.is_namespace(path)
        netns.create(path)
        self.namespace = Namespace(str(path))
        self._vxlan_index = 0
        self._complete = False
        self.programmed: dict[str, str] = {}
        try:
            self._build()
        except BaseException:
            if found:  # containers may be attached to it
                self.close()
            else:
                self.remove()
            raise

    def update(self, network: OverlayNetwork, endpoint: TunnelEndpoint, mtu: int) -> None:
        """Replace the VXLAN device if the network, the host's tunnel endpoint or its MTU changed, or the last try failed.

        Attached containers stay on the bridge.
        """
        if (network, endpoint, mtu) != (self.network, self._endpoint, self._mtu) or not self._complete:
            self.network, self._endpoint, self._mtu = network, endpoint, mtu
            self._ports_with_mtu.clear()
            self._complete = False
            links.run_in_namespace(
                self.namespace,
                f"remove the VXLAN device of {self._name}",
                lambda route: links.delete_link(route, VXLAN_DEVICE),
            )
            self._build()

    def program_fdb(self, want: dict[str, str]) -> None:
        """Bring the forwarding entries to `want`: remote endpoint address to its host."""
        plan = fdb.plan(self.programmed, want)
        if plan == FdbPlan():
            return
        messages = fdb_netlink.fdb_messages(self._vxlan_index, plan)
        failures = self.namespace.run(lambda: fdb_netlink.send_messages(messages))
        if failures:
            self.programmed = links.run_in_namespace(
                self.namespace, f"read the entries of {self._name}", self._read_entries
            )
            raise UnavailableError(
                f"{self._name}: the kernel refused {len(failures)} forwarding entries: {failures[0][1]}"
            )
        self.programmed = fdb.apply_plan(self.programmed, plan)

    def attach(self, container: Namespace, container_id: str, attachment: Attachment) -> None:
        """Connect a container by a veth pair: one end in the container, the other in the bridge with a static FDB entry."""
        port = port_name(container_id, attachment.interface)
        mac = mac_address(attachment.address)

        def is_connected(route: Any) -> bool:
            index = links.index_of(route, attachment.interface)
            return (
                bool(index)
                and links.link_mac(route, index) == mac
                and attachment.address in links.addresses(route, index)
            )

        def connect(route: Any) -> None:
            links.delete_link(route, port)
            index = links.add_veth(route, port, container, inner=attachment.interface, inner_mac=mac, mtu=self._mtu)
            links.join_bridge(route, index, links.index_of(route, BRIDGE))
            fdb_netlink.send_messages([fdb_netlink.local_port_message(index, attachment.address)])
            self._ports_with_mtu.add(port)

        def configure(route: Any) -> None:
            index = links.index_of(route, attachment.interface)
            links.ensure_address(route, index, attachment.address)
            route.link("set", index=index, state="up")

        what = f"attach container {container_id[:12]} to {self._name}"
        if not (
            links.run_in_namespace(container, what, is_connected)
            and links.run_in_namespace(self.namespace, what, lambda r: links.index_of(r, port))
        ):
            links.run_in_namespace(container, what, lambda route: links.delete_link(route, attachment.interface))
            links.run_in_namespace(self.namespace, what, connect)
        links.run_in_namespace(container, what, configure)

    def set_container_mtu(self, container: Namespace, container_id: str, interface: str) -> None:
        """Set the network's current MTU on an adopted interface, or after the underlay changed. Connections continue."""
        port = port_name(container_id, interface)
        if port not in self._ports_with_mtu:
            what = f"set the MTU of container {container_id[:12]} on {self._name}"
            links.run_in_namespace(self.namespace, what, lambda route: links.ensure_mtu(route, port, self._mtu))
            links.run_in_namespace(container, what, lambda route: links.ensure_mtu(route, interface, self._mtu))
            self._ports_with_mtu.add(port)

    def detach(self, container_id: str, interface: str) -> None:
        """Remove the container's port from the bridge, and with it its interface."""
        port = port_name(container_id, interface)
        self._ports_with_mtu.discard(port)
        links.run_in_namespace(
            self.namespace,
            f"detach container {container_id[:12]} from {self._name}",
            lambda route: links.delete_link(route, port),
        )

    def close(self) -> None:
        """Close the handle. The network stays."""
        self.namespace.close()

    def remove(self) -> None:
        """Remove the network. The devices go first: the kernel removes namespaces late, and the VXLAN id must be free at once."""
        try:
            links.run_in_namespace(self.namespace, f"remove {self._name}", links.delete_all_links)
        finally:
            self.namespace.close()
            netns.remove(self._path)

    @property
    def _name(self) -> str:
        return f"network {self.network.name}"

    def _build(self) -> None:
        network = self.network
        prefix = network.subnet.partition("/")[2]
        gateway = f"{network.gateway}/{prefix}" if network.gateway and prefix else ""

        def build_bridge(route: Any) -> int:
            links.set_loopback_up(route)
            links.disable_ipv6()
            links.ensure_bridge(route, BRIDGE, self._mtu, gateway)
            return links.index_of(route, VXLAN_DEVICE)

        def join_vxlan(route: Any) -> dict[str, str]:
            self._vxlan_index = links.index_of(route, VXLAN_DEVICE)
            links.join_bridge(route, self._vxlan_index, links.index_of(route, BRIDGE))
            return self._read_entries(route)

        found = links.run_in_namespace(self.namespace, f"create the bridge of {self._name}", build_bridge)
        if found and not links.run_in_namespace(
            self.namespace, f"read the VXLAN device of {self._name}", self._vxlan_is_current
        ):
            links.run_in_namespace(
                self.namespace,
                f"replace the VXLAN device of {self._name}",
                lambda route: links.delete_link(route, VXLAN_DEVICE),
            )
            found = 0
        if not found:
            self._add_vxlan()
        self.programmed = links.run_in_namespace(
            self.namespace, f"join the VXLAN device of {self._name} to its bridge", join_vxlan
        )
        self._complete = True

    def _add_vxlan(self) -> None:
        network = self.network

        def add(route: Any) -> None:
            try:
                links.add_vxlan(
                    route, VXLAN_DEVICE, self.namespace, vni=network.vni, local=self._endpoint, mtu=self._mtu
                )
            except NetlinkError as error:
                if error.code != errno.EEXIST:
                    raise
                raise UnavailableError(
                    f"{self._name}: VXLAN id {network.vni} is in use on this host by another daemon or tool"
                ) from error

        links.run_in_namespace(self._host, f"create the VXLAN device of {self._name}", add)

    def _vxlan_is_current(self, route: Any) -> bool:
        link = route.get_links(links.index_of(route, VXLAN_DEVICE))[0]
        data = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA")
        return bool(
            data.get_attr("IFLA_VXLAN_ID") == self.network.vni
            and data.get_attr("IFLA_VXLAN_LOCAL") == self._endpoint.address
            and data.get_attr("IFLA_VXLAN_PORT") == self._endpoint.port
            and link.get_attr("IFLA_MTU") == self._mtu
        )

    def _read_entries(self, route: Any) -> dict[str, str]:
        """Endpoint address to host, as in the kernel. An incomplete entry has an empty host, so that it is planned again."""
        hosts: dict[str, str] = {}
        for entry in route.get_neighbours(_BRIDGE_FAMILY, ifindex=self._vxlan_index):
            if entry.get_attr("NDA_DST"):
                hosts[entry.get_attr("NDA_LLADDR")] = entry.get_attr("NDA_DST")
        neighbours = route.get_neighbours(_NEIGHBOUR_FAMILY, ifindex=self._vxlan_index)
        programmed = {entry.get_attr("NDA_DST"): hosts.pop(entry.get_attr("NDA_LLADDR"), "") for entry in neighbours}
        for mac in hosts:
            if mac.startswith("02:42:"):
                programmed[".".join(str(int(octet, 16)) for octet in mac.split(":")[2:])] = ""
        return programmed


def port_name(container_id: str, interface: str) -> str:
    """The name of a container's port on the bridge: unique per container and interface, at most 15 bytes."""
    return "cv" + hashlib.blake2b(f"{container_id}/{interface}".encode(), digest_size=6).hexdigest()
