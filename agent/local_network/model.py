"""Data types of the networks of one host: networks, what a user asks for, addresses of endpoints, and events. Pure."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from covey.objects.network import IPAM

BRIDGE, HOST, NONE = "bridge", "host", "none"
PREDEFINED = (BRIDGE, HOST, NONE)
GATEWAY = "docker_gwbridge"
"""The network that gives containers on overlay networks a way out. It is made when the first of them needs it."""
BRIDGE_NAME = "com.docker.network.bridge.name"
PREDEFINED_DRIVERS = {BRIDGE: "bridge", HOST: "host", NONE: "null"}
ID_DIGITS = 64


class NetworkRequirements(msgspec.Struct, frozen=True, kw_only=True):
    """A network as a user asks for it. `ipam` may leave subnets and gateways to the host."""

    name: str
    driver: str = ""
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    internal: bool = False
    attachable: bool = False
    ipv4: bool = True
    ipv6: bool = False
    ipam: IPAM = IPAM()
    config_only: bool = False
    config_from: str = ""


class LocalNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """A network of this host. `ipam` is complete: every subnet and gateway is named, and each of `given` is the user's own."""

    id: str
    name: str
    driver: str
    created_at_ns: int
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    internal: bool = False
    attachable: bool = False
    ipv4: bool = True
    ipv6: bool = False
    ipam: IPAM = IPAM()
    subnets_given: tuple[bool, bool] = (False, False)
    """Whether the user named the subnets, IPv4 and IPv6; only then may endpoints ask for addresses."""
    config_only: bool = False
    config_from: str = ""
    of_cluster: bool = False
    """This node's part of a network of the cluster, whose id it has: one of a driver that works on each node by itself."""

    @property
    def is_predefined(self) -> bool:
        return self.name in PREDEFINED


class EndpointAddresses(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses of an endpoint with their prefix lengths, and its gateways without. Empty where the network has none."""

    ipv4: str = ""
    ipv6: str = ""
    gateway4: str = ""
    gateway6: str = ""


class NetworkEvent(msgspec.Struct, frozen=True):
    """`action` is Docker's: create, connect, disconnect, destroy."""

    time_ns: int
    action: str
    network_id: str
    attributes: dict[str, str] = {}


def predefined_id(name: str, engine_id: str) -> str:
    """The id of a predefined network, which is stable on a host and differs between hosts."""
    return sha256(f"{engine_id}/{name}".encode()).hexdigest()


def device_name(network: LocalNetwork) -> str:
    """The device of a bridge network in the host's namespace, "" of another driver."""
    if network.driver != "bridge" or network.name == GATEWAY:
        return ""
    return network.options.get(BRIDGE_NAME, "") or f"br-{network.id[:12]}"
