"""The networks of a container as ``docker inspect`` and ``docker ps`` show them."""

from typing import Any

from agent.container.model import Container, ContainerConfig, EndpointSettings, NetworkRequest
from agent.local_network.model import GATEWAY, PREDEFINED, predefined_id

MIN_ID_PREFIX = 12
_NAMES = {"default": "bridge", "": "bridge"}


def network_mode(config: ContainerConfig) -> str:
    """The mode that the user gave; for a task ``host``, ``none`` or the name of its first network."""
    if config.network_mode:
        return config.network_mode
    if config.netns_path == "host":
        return "host"
    return config.networks[0].name if config.networks else "none"


def networks(container: Container, engine_id: str) -> dict[str, Any]:
    """The endpoints by network. A container that does not run has no addresses."""
    config = container.config
    return {
        item.name: _endpoint(item, _request_of(item, config), container, engine_id)
        for item in _endpoints(container)
        if item.name != GATEWAY  # as in Docker, which shows it nowhere in a container
    }


def _request_of(item: EndpointSettings, config: ContainerConfig) -> NetworkRequest:
    """What the user asked for, who may have named the network by its id or the beginning of it."""
    for request in config.requested_networks:
        names_id = len(request.network) >= MIN_ID_PREFIX and item.network_id.startswith(request.network)
        if request.network == item.name or names_id:
            return request
    return NetworkRequest(network=item.name)


def _endpoints(container: Container) -> tuple[EndpointSettings, ...]:
    """What the container has, or before its first start what it asks for."""
    config = container.config
    has_own = container.state.running and config.network_mode not in {"host", "none"}
    if has_own or config.networks or config.network_mode.startswith("container:") or config.network_disabled:
        return config.networks
    if config.task_id:
        return (EndpointSettings(name="host"),) if config.netns_path == "host" else ()
    mode = () if config.network_mode in _NAMES.values() else (config.network_mode,)
    names = [request.network for request in config.requested_networks] or mode
    return tuple(EndpointSettings(name=_NAMES.get(name, name)) for name in names)


def _endpoint(item: EndpointSettings, request: NetworkRequest, container: Container, engine_id: str) -> dict[str, Any]:
    running = container.state.running
    network_id = item.network_id
    if item.name in PREDEFINED and (container.state.start_count or running):
        network_id = predefined_id(item.name, engine_id)
    has_names = item.network_id and item.name not in PREDEFINED
    names = [container.name, *item.aliases, container.id[:12]] if has_names else []
    return {
        "IPAMConfig": None if container.config.task_id else _wanted_addresses(request),
        "Links": list(request.links) or None,
        "Aliases": list(item.aliases or request.aliases) or None,
        "MacAddress": item.mac if running else "",
        "DriverOpts": request.driver_options or None,
        "GwPriority": request.gateway_priority,
        "NetworkID": network_id,
        "EndpointID": item.endpoint_id if running else "",
        "Gateway": _shown_gateway(item.gateway) if running else "",
        "IPAddress": item.ip if running else "",
        "IPPrefixLen": item.prefix if running else 0,
        "IPv6Gateway": _shown_gateway(item.gateway6) if running else "",
        "GlobalIPv6Address": item.ip6 if running else "",
        "GlobalIPv6PrefixLen": item.prefix6 if running else 0,
        "DNSNames": list(dict.fromkeys(names)) or None,
    }


def _wanted_addresses(request: NetworkRequest) -> dict[str, Any] | None:
    """The addresses that the user asked for; None for none."""
    wanted: dict[str, Any] = {"IPv4Address": request.ip, "IPv6Address": request.ip6}
    found = {key: value for key, value in wanted.items() if value}
    if request.link_local_ips:
        found["LinkLocalIPs"] = list(request.link_local_ips)
    return found or None


def _shown_gateway(address: str) -> str:
    """A gateway that stands for none, because the link itself leads out, is not shown."""
    return "" if address in {"0.0.0.0", "::"} else address


def network_settings(container: Container, engine_id: str, ports: dict[str, Any]) -> dict[str, Any]:
    """``NetworkSettings`` of an inspected container. The address on the default bridge is shown twice, as in Docker."""
    found = networks(container, engine_id)
    bridge = found.get("bridge", {})
    return {
        "Bridge": "",
        "SandboxID": container.id if container.state.running and container.config.netns_path else "",
        "SandboxKey": container.config.netns_path if container.state.running else "",
        "Ports": ports,
        "EndpointID": bridge.get("EndpointID", ""),
        "Gateway": bridge.get("Gateway", ""),
        "IPAddress": bridge.get("IPAddress", ""),
        "IPPrefixLen": bridge.get("IPPrefixLen", 0),
        "MacAddress": bridge.get("MacAddress", ""),
        "IPv6Gateway": bridge.get("IPv6Gateway", ""),
        "GlobalIPv6Address": bridge.get("GlobalIPv6Address", ""),
        "GlobalIPv6PrefixLen": bridge.get("GlobalIPv6PrefixLen", 0),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "Networks": found,
    }
