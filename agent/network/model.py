"""Types that the agent's worker passes to the network driver: networks, attachments, changes, failures.

Invariant: values are frozen and hold no protobuf message and no kernel handle.
Invariant: an endpoint's IPv4 address determines its MAC address, so hosts never exchange neighbour entries.

Endpoints and virtual services are the cluster's own objects, from `covey.objects.assignment`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

VXLAN_PORT = 4789


class ServiceMode(StrEnum):
    VIP = "vip"
    DNSRR = "dnsrr"


class NetworkMode(StrEnum):
    """How a container without an overlay network meets the host's network."""

    BRIDGE = "bridge"
    NONE = "none"
    HOST = "host"


class OverlayNetwork(msgspec.Struct, frozen=True):
    """`subnet` is `10.0.1.0/24`, `gateway` an address without prefix (may be empty). `mtu` 0 means all that this host's own
    network carries. `internal` networks give no way out.
    """

    id: str
    name: str
    vni: int
    subnet: str
    gateway: str
    mtu: int = 0
    internal: bool = False


class EndpointKey(NamedTuple):
    """A task has one endpoint on each of its networks."""

    network_id: str
    id: str


class Endpoint(msgspec.Struct, frozen=True):
    """One task on one network, wherever it runs. `host` is the VTEP address of its node, `address` has no prefix."""

    id: str
    network_id: str
    node_id: str
    host: str
    address: str
    service_id: str = ""
    service_name: str = ""
    task_name: str = ""
    aliases: tuple[str, ...] = ()
    hostname: str = ""
    container_id: str = ""
    ready: bool = True

    @property
    def key(self) -> EndpointKey:
        return EndpointKey(self.network_id, self.id)


class ServiceKey(NamedTuple):
    network_id: str
    service_id: str


class ServiceEndpoint(msgspec.Struct, frozen=True):
    """A service on one network. `vip` is empty with `dnsrr`."""

    network_id: str
    service_id: str
    name: str
    aliases: tuple[str, ...] = ()
    mode: ServiceMode = ServiceMode.VIP
    vip: str = ""

    @property
    def key(self) -> ServiceKey:
        return ServiceKey(self.network_id, self.service_id)


class Attachment(msgspec.Struct, frozen=True):
    """A local container's interface on an overlay network: `address` is `10.0.1.5/24`, `interface` is `eth0`, `eth1`, ..."""

    network_id: str
    address: str
    interface: str
    aliases: tuple[str, ...] = ()


class NetworkChanges(msgspec.Struct, frozen=True):
    """A versioned difference from the cluster. `complete` says that it is the whole state: what it does not name goes away."""

    networks: tuple[OverlayNetwork, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    services: tuple[ServiceEndpoint, ...] = ()
    removed_networks: tuple[str, ...] = ()
    removed_endpoints: tuple[EndpointKey, ...] = ()
    removed_services: tuple[ServiceKey, ...] = ()
    complete: bool = False


class NetworkFailure(msgspec.Struct, frozen=True):
    """What one network or container could not be brought to; the worker reports it and the next `apply` tries again."""

    subject: str
    reason: str


def mac_address(address: str) -> str:
    """`10.0.1.5` (a prefix is ignored) gives `02:42:0a:00:01:05`."""
    octets = address.partition("/")[0].split(".")
    return "02:42:" + ":".join(f"{int(octet):02x}" for octet in octets)
