"""Networks of this host as clients see them: the three predefined ones, and the containers of a network."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from agent.container.model import Container
from engine.translate.times import ZERO

PREDEFINED = ("bridge", "host", "none")
_LOCAL_DRIVERS = {"bridge": "bridge", "host": "host", "none": "null"}
_BRIDGE_OPTIONS = {
    "com.docker.network.bridge.default_bridge": "true",
    "com.docker.network.bridge.enable_icc": "true",
    "com.docker.network.bridge.enable_ip_masquerade": "true",
    "com.docker.network.bridge.name": "covey0",
}


def containers_on(name: str, network_id: str, containers: Iterable[Container]) -> dict[str, Any]:
    """``Containers`` of an inspected network: the endpoints of this host's running containers."""
    found = {}
    for container in containers:
        for item in container.config.networks if container.state.running else ():
            if item.network_id == network_id or (not item.network_id and item.name == name):
                found[container.id] = {
                    "Name": container.name,
                    "EndpointID": item.endpoint_id,
                    "MacAddress": item.mac,
                    "IPv4Address": f"{item.ip}/{item.prefix}" if item.ip else "",
                    "IPv6Address": "",
                }
    return found


def write_predefined(
    name: str, engine_id: str, address_range: tuple[str, str] = ("", ""), containers: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A predefined network of this host. ``address_range`` is the subnet and the gateway of ``bridge``."""
    subnet, gateway = address_range
    return {
        "Name": name,
        "Id": predefined_id(name, engine_id),
        "Created": ZERO,
        "Scope": "local",
        "Driver": _LOCAL_DRIVERS[name],
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {
            "Driver": "default",
            "Options": None,
            "Config": [{"Subnet": subnet, "Gateway": gateway}] if subnet else [],
        },
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": dict(containers or {}),
        "Options": _BRIDGE_OPTIONS if name == "bridge" else {},
        "Labels": {},
    }


def predefined_id(name: str, engine_id: str) -> str:
    """The id of a predefined network, which is stable on a host and differs between hosts."""
    return sha256(f"{engine_id}/{name}".encode()).hexdigest()
