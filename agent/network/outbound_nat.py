"""Outbound NAT: the gateway bridge in the host's namespace, masqueraded, through which containers reach the outside.

Invariant: there is one bridge per daemon, and one nftable of the same name.
Invariant: its subnet is the one the bridge has already, or the first candidate that overlaps no route of the host.
Invariant: addresses are assigned here alone, and read back from the sandboxes after a restart.

Bridge ports are isolated from each other, except those of containers on the plain `bridge` network.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from agent.network import links
from agent.network.model import BridgeEndpoint, mac_address
from agent.network.netns import Namespace
from agent.network.nftables import NftablesContext
from agent.network.overlay import port_name
from covey.errors import ConflictError, UnsupportedError

logger = logging.getLogger(__name__)

CANDIDATE_SUBNETS = (
    *(IPv4Network(f"172.{second}.0.0/16") for second in range(18, 32)),
    *(IPv4Network(f"192.168.{third}.0/20") for third in range(0, 256, 16)),
)


def choose_subnet(taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first candidate subnet that overlaps no taken one. Raises ConflictError when all overlap."""
    used = tuple(network for network in taken if network.prefixlen > 0)
    for candidate in CANDIDATE_SUBNETS:
        if not any(candidate.overlaps(network) for network in used):
            return candidate
    raise ConflictError(
        "no private subnet is free for the containers' outbound network: all overlap a route of this host. "
        "Free one of 172.18.0.0/16 to 172.31.0.0/16 or 192.168.0.0/20 to 192.168.240.0/20"
    )


def next_address(subnet: IPv4Network, used: set[str], last: int) -> tuple[str, int]:
    """The next free address with its prefix, and its offset. `last` is the offset assigned last, so no address is reused soon."""
    size = subnet.num_addresses
    for step in range(1, size):
        offset = (last + step) % size
        address = str(subnet[offset])
        if 2 <= offset < size - 1 and address not in used:
            return f"{address}/{subnet.prefixlen}", offset
    raise ConflictError(f"the outbound network {subnet} of this host has no free address: remove containers")


class OutboundNat:
    """The gateway bridge and its addresses. The bridge is created at the first use."""

    def __init__(self, host: Namespace, bridge: str) -> None:
        self._host = host
        self._bridge = bridge
        self._gateway: IPv4Interface | None = None
        self._mtu = 1500
        self._last = 1
        self._used: dict[str, str] = {}

    @property
    def subnet(self) -> IPv4Network | None:
        """The bridge's subnet, or None while there is no bridge."""
        return self._gateway.network if self._gateway else None

    def address_range(self) -> tuple[str, str]:
        """The bridge's subnet and its own address; before its first use those that it would get."""
        gateway = self._gateway or _gateway_in(
            choose_subnet(links.run_in_namespace(self._host, "read the routes", _routes))
        )
        return str(gateway.network), str(gateway.ip)

    def adopt_bridge(self) -> None:
        """Adopt the bridge of an earlier process, if there is one."""

        def read(route: Any) -> tuple[str, ...]:
            index = links.index_of(route, self._bridge)
            return links.addresses(route, index) if index else ()

        found = links.run_in_namespace(self._host, f"read the bridge {self._bridge}", read)
        if found:
            self._gateway = IPv4Interface(found[0])
            self.ensure_bridge()

    def restore_addresses(self, sandboxes: Mapping[str, Path]) -> None:
        """Read back the addresses that containers have from an earlier process. `sandboxes` are namespaces by container id."""
        subnet = self.subnet
        if subnet is None:
            return

        def read(route: Any) -> list[str]:
            return [item.get_attr("IFA_ADDRESS") for item in route.get_addr(family=2)]

        for container_id, path in sandboxes.items():
            what = f"read the addresses of container {container_id[:12]}"
            namespace = Namespace(str(path))
            try:
                for address in links.run_in_namespace(namespace, what, read):
                    if IPv4Address(address) in subnet:
                        self._used[container_id] = address
            finally:
                namespace.close()

    def release_address(self, container_id: str) -> None:
        self._used.pop(container_id, None)

    def ensure_bridge(self) -> IPv4Interface:
        """Create the bridge, enable IP forwarding and masquerade. A repeated call changes nothing. Returns the gateway."""

        def build(route: Any) -> IPv4Interface:
            gateway = self._gateway
            if gateway is None:
                gateway = _gateway_in(choose_subnet(_routes(route)))
            self._mtu = _default_route_mtu(route)
            links.ensure_bridge(route, self._bridge, self._mtu, str(gateway))
            if not links.set_sysctl("net/ipv4/ip_forward", "1"):
                raise UnsupportedError(
                    "net.ipv4.ip_forward=1 cannot be set on this host, so its containers would have no outbound access. "
                    "Set it in the host's sysctl configuration"
                )
            return gateway

        self._gateway = links.run_in_namespace(self._host, f"create the bridge {self._bridge}", build)
        rules = NftablesContext(self._host)
        try:
            rules.run(_masquerade(self._bridge, self._gateway.network))
        finally:
            rules.close()
        return self._gateway

    def attach(
        self, container: Namespace, container_id: str, interface: str, *, isolated: bool, mac: str = ""
    ) -> BridgeEndpoint:
        """Connect a container, with the default route through the bridge. `mac` replaces the address that follows from its IP."""
        gateway = self._gateway or self.ensure_bridge()
        what = f"connect container {container_id[:12]} to {self._bridge}"
        assigned = self._used.get(container_id)
        if assigned:
            address = f"{assigned}/{gateway.network.prefixlen}"
        else:
            address, self._last = next_address(gateway.network, set(self._used.values()), self._last)
        port = port_name(container_id, interface)
        hardware = mac or mac_address(address)

        def is_connected(route: Any) -> bool:
            index = links.index_of(route, interface)
            return bool(index) and address in links.addresses(route, index)

        def connect(route: Any) -> None:
            links.delete_link(route, port)
            index = links.add_veth(route, port, container, inner=interface, inner_mac=hardware, mtu=self._mtu)
            links.join_bridge(route, index, links.index_of(route, self._bridge), isolated=isolated, static_fdb=False)

        def configure(route: Any) -> None:
            index = links.index_of(route, interface)
            links.ensure_address(route, index, address)
            route.link("set", index=index, state="up")
            route.route("replace", dst="default", gateway=str(gateway.ip), oif=index)

        if not (
            links.run_in_namespace(container, what, is_connected)
            and links.run_in_namespace(self._host, what, lambda r: links.index_of(r, port))
        ):
            links.run_in_namespace(container, what, lambda route: links.delete_link(route, interface))
            links.run_in_namespace(self._host, what, connect)
        links.run_in_namespace(container, what, configure)
        self._used[container_id] = address.partition("/")[0]
        return BridgeEndpoint(address, str(gateway.ip), hardware)

    def detach(self, container: Namespace, container_id: str, interface: str) -> None:
        """Remove a container's interface and free its address."""
        what = f"disconnect container {container_id[:12]} from {self._bridge}"
        links.run_in_namespace(container, what, lambda route: links.delete_link(route, interface))
        self.release_address(container_id)

    def remove(self) -> None:
        """Remove the bridge and its rules. The caller makes sure that no container uses them."""
        links.run_in_namespace(
            self._host, f"remove the bridge {self._bridge}", lambda route: links.delete_link(route, self._bridge)
        )
        rules = NftablesContext(self._host)
        try:
            rules.run(f"add table ip {self._bridge}\ndelete table ip {self._bridge}")
        finally:
            rules.close()
        self._gateway = None


def _gateway_in(subnet: IPv4Network) -> IPv4Interface:
    return IPv4Interface((int(subnet[1]), subnet.prefixlen))


def _masquerade(bridge: str, subnet: IPv4Network) -> str:
    return f"""
add table ip {bridge}
delete table ip {bridge}
add table ip {bridge}
add chain ip {bridge} postrouting {{ type nat hook postrouting priority 100; }}
add rule ip {bridge} postrouting ip saddr {subnet} oifname != "{bridge}" masquerade
"""


def _routes(route: Any) -> list[IPv4Network]:
    found: list[IPv4Network] = []
    for item in route.get_routes(family=2):
        destination = item.get_attr("RTA_DST")
        if destination:
            found.append(IPv4Network(f"{destination}/{item['dst_len']}", strict=False))
    return found


def _default_route_mtu(route: Any) -> int:
    """The MTU of the default route's device, so that the host never has to fragment what containers send."""
    for item in route.get_default_routes(family=2):
        index = item.get_attr("RTA_OIF")
        if index:
            return int(route.get_links(index)[0].get_attr("IFLA_MTU"))
    return 1500
