"""Networks, ports and links of a service's container, as the Engine API has them. Pure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cli.compose.model import Application

if TYPE_CHECKING:
    from cli.compose.container_body import ContainerRequest

Values = Mapping[str, Any]


def network_keys(service: Values) -> list[str]:
    """The networks of a service by priority, then by name."""
    attached = service.get("networks") or {}
    return sorted(attached, key=lambda key: (-int((attached[key] or {}).get("priority") or 0), key))


def network_mode(application: Application, service: Values, request: "ContainerRequest") -> str:
    mode = str(service.get("network_mode") or "")
    if mode:
        return shared_namespace(mode, request)
    keys = network_keys(service)
    return str(application.networks[keys[0]]["name"]) if keys else "none"


def shared_namespace(mode: str, request: "ContainerRequest") -> str:
    """The mode with the container of a service instead of its name."""
    kind, _, name = mode.partition(":")
    return f"container:{request.containers.get(name, name)}" if kind == "service" else mode


def endpoints(application: Application, service: Values, request: "ContainerRequest") -> dict[str, Any]:
    """The endpoints by the names of their networks."""
    if service.get("network_mode"):
        return {}
    attached = service.get("networks") or {}
    return {
        application.networks[key]["name"]: _endpoint(attached[key] or {}, service, request)
        for key in network_keys(service)
    }


def _endpoint(attachment: Values, service: Values, request: "ContainerRequest") -> dict[str, Any]:
    names = [request.name, *([request.service, *attachment.get("aliases", ())] if request.aliases else ())]
    result: dict[str, Any] = {"Aliases": list(dict.fromkeys(names))}
    if given := links(service, request):
        result["Links"] = given
    addresses = {
        name: attachment[key]
        for key, name in (
            ("ipv4_address", "IPv4Address"),
            ("ipv6_address", "IPv6Address"),
            ("link_local_ips", "LinkLocalIPs"),
        )
        if attachment.get(key)
    }
    if addresses:
        result["IPAMConfig"] = addresses
    mac_address = attachment.get("mac_address") or service.get("mac_address")
    if mac_address:
        result["MacAddress"] = mac_address
    options = dict(attachment.get("driver_opts") or {})
    if attachment.get("interface_name"):
        options["com.docker.network.endpoint.ifname"] = attachment["interface_name"]
    if options:
        result["DriverOpts"] = options
    if attachment.get("gw_priority"):
        result["GwPriority"] = attachment["gw_priority"]
    return result


def links(service: Values, request: "ContainerRequest") -> list[str]:
    """``CONTAINER:ALIAS`` of the containers of linked services."""
    result: list[str] = []
    for link in service.get("links") or ():
        name, _, alias = link.partition(":")
        for container in request.names.get(name, ()):
            short = container.split("-", 1)[1] if "-" in container else container
            result += [f"{container}:{alias or name}", f"{container}:{short}", f"{container}:{container}"]
    for link in service.get("external_links") or ():
        name, _, alias = link.partition(":")
        result.append(f"{name}:{alias or name}")
    return list(dict.fromkeys(result))


def exposed_ports(service: Values) -> dict[str, Any]:
    listed = [port if "/" in port else f"{port}/tcp" for port in map(str, service.get("expose") or ())]
    listed += [_inside(port) for port in service.get("ports") or ()]
    return {name: {} for entry in listed for name in _expanded(entry)}


def port_bindings(service: Values) -> dict[str, list[dict[str, str]]]:
    result: dict[str, list[dict[str, str]]] = {}
    for port in service.get("ports") or ():
        binding = {"HostIp": port.get("host_ip", ""), "HostPort": str(port.get("published", ""))}
        result.setdefault(_inside(port), []).append(binding)
    return result


def _inside(port: Values) -> str:
    return f"{port['target']}/{port.get('protocol') or 'tcp'}"


def _expanded(entry: str) -> list[str]:
    ports, _, protocol = entry.partition("/")
    first, _, last = ports.partition("-")
    return [f"{number}/{protocol}" for number in range(int(first), int(last or first) + 1)]
