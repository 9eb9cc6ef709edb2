"""Types that the agent's worker passes to the network driver: networks, attachments, changes, failures.

Invariant: values are frozen and hold no protobuf message and no kernel handle.

Endpoints and virtual services are the cluster's own objects, from `covey.objects.assignment`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from covey.mac_address import derived_mac
from covey.objects.assignment import NetworkEndpoint, NodeEndpoint, VirtualService

VXLAN_PORT = 4789


class HostRoute(NamedTuple):
    """A route of the host in CIDR notation, and its device."""

    destination: str
    device: str


class TunnelEndpoint(NamedTuple):
    """This host's end of the VXLAN tunnels: its address, empty while it has none, and the UDP port of all hosts."""

    address: str
    port: int = VXLAN_PORT


class Subnet(NamedTuple):
    """A subnet in CIDR notation, and its gateway without a prefix length, perhaps empty."""

    subnet: str
    gateway: str = ""


class OverlayNetwork(msgspec.Struct, frozen=True):
    """An overlay network as the host needs it.

    `subnet` is `10.0.1.0/24`, `gateway` an address without a prefix, perhaps empty; `more_subnets` are the others, of either family.
    `mtu` 0 means as much as the host's underlay carries. Containers have no outbound access through `internal` networks.
    """

    id: str
    name: str
    vni: int
    subnet: str
    gateway: str
    mtu: int = 0
    internal: bool = False
    more_subnets: tuple[Subnet, ...] = ()
    encrypted: bool = False
    multicast: bool = False

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        first = (Subnet(self.subnet, self.gateway),) if self.subnet else ()
        return (*first, *self.more_subnets)


class Attachment(msgspec.Struct, frozen=True):
    """A local container's interface on an overlay network. `address` is `10.0.1.5/24`, `interface` is `eth0`, `eth1`, ...

    `aliases` are DNS names that only this host resolves. `address6` is empty on networks without IPv6. An empty `mac` is the one that
    the IPv4 address determines.
    """

    network_id: str
    address: str
    interface: str
    aliases: tuple[str, ...] = ()
    address6: str = ""
    mac: str = ""

    @property
    def ip(self) -> str:
        """The address without its prefix length."""
        return self.address.partition("/")[0]

    @property
    def ip6(self) -> str:
        """The IPv6 address without its prefix length, empty for none."""
        return self.address6.partition("/")[0]

    @property
    def hardware_address(self) -> str:
        return self.mac or derived_mac(self.address)


class LocalAttachment(msgspec.Struct, frozen=True):
    """A container's interface on a network of this host alone. `links` are (alias, name) pairs that only this container resolves."""

    network_id: str
    interface: str
    links: tuple[tuple[str, str], ...] = ()


class NetworkChanges(msgspec.Struct, frozen=True):
    """Changes of the networks that the cluster assigned to this host."""

    networks: tuple[OverlayNetwork, ...] = ()
    endpoints: tuple[NetworkEndpoint, ...] = ()
    services: tuple[VirtualService, ...] = ()
    removed_networks: tuple[str, ...] = ()
    removed_endpoints: tuple[str, ...] = ()
    removed_services: tuple[str, ...] = ()
    nodes: tuple[NodeEndpoint, ...] = ()
    removed_nodes: tuple[str, ...] = ()
    ingress: tuple[OverlayNetwork, ...] = ()
    """The ingress network, which has no sandbox."""


class NetworkFailure(msgspec.Struct, frozen=True):
    """A network that could not be brought to its desired state, and why. The next `apply` retries."""

    network_id: str
    reason: str
