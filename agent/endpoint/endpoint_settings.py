"""What a container's configuration says of an endpoint on a local network, and what follows from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from agent.container.links import parse_link
from agent.container.model import ContainerConfig, EndpointSettings, NetworkRequest
from agent.dns.zone import LocalMember
from agent.endpoint import kernel_plans
from agent.endpoint.port_plan import all_published
from agent.local_network.addresses import plain
from agent.local_network.model import GATEWAY, ID_DIGITS, EndpointAddresses, LocalNetwork
from agent.network.plan.bridge import OpenPort
from covey.errors import InvalidArgumentError
from covey.ids import endpoint_id

SYSCTLS_OPTION = "com.docker.network.endpoint.sysctls"
_IFNAME = "IFNAME"  # clients write it in lower case too
_OPEN_LINK = {4: "0.0.0.0", 6: "::"}


def endpoint_settings(
    config: ContainerConfig, network: LocalNetwork, request: NetworkRequest, interface: str, given: EndpointAddresses
) -> EndpointSettings:
    """An endpoint as the container's configuration has it."""
    ip, ip6 = plain(given.ipv4), plain(given.ipv6)
    return EndpointSettings(
        name=network.name,
        driver=network.driver,
        network_id=network.id,
        endpoint_id=endpoint_id(config.id, network.id),
        ip=ip,
        prefix=int(given.ipv4.partition("/")[2] or 0),
        mac=request.mac or kernel_plans.choose_mac(ip, config.id, network.id),
        gateway=_gateway(network, given.gateway4, 4),
        ip6=ip6,
        prefix6=int(given.ipv6.partition("/")[2] or 0),
        gateway6=_gateway(network, given.gateway6, 6),
        link_local_ips=request.link_local_ips,
        gateway_priority=request.gateway_priority,
        sysctls=read_sysctls(request.driver_options, interface),
        aliases=request.aliases,
        links=request.links,
        interface=interface,
    )


def read_sysctls(options: Mapping[str, str], interface: str) -> dict[str, str]:
    """The kernel parameters that a request sets on its interface, which they name IFNAME, by their path below /proc/sys."""
    found = {}
    for entry in filter(None, options.get(SYSCTLS_OPTION, "").split(",")):
        name, separator, value = entry.partition("=")
        parts = name.split(".")
        if not separator or len(parts) < 5 or parts[0] != "net" or parts[3].upper() != _IFNAME or not all(parts):
            raise InvalidArgumentError(
                f"invalid endpoint settings: unrecognised sysctl '{entry}': use net.FAMILY.KIND.IFNAME.NAME=VALUE"
            )
        found["/".join(interface if part.upper() == _IFNAME else part for part in parts)] = value
    return found


def open_ports(config: ContainerConfig, network: LocalNetwork, endpoint: EndpointSettings) -> list[OpenPort]:
    """The published ports of a container that the outside reaches at its own addresses, because its network is routed."""
    routed = kernel_plans.routed_families(network)
    addresses = [address for is_routed, address in zip(routed, (endpoint.ip, endpoint.ip6), strict=True) if is_routed]
    bindings = config.port_bindings
    if config.publish_all_ports:
        bindings = all_published(bindings, config.exposed_ports)
    ports = [port.partition("/") for port, wanted in bindings.items() if wanted]
    return [
        OpenPort(address, protocol, int(number)) for address in addresses if address for number, _, protocol in ports
    ]


def hairpin_subnets(network: LocalNetwork, endpoint: EndpointSettings) -> tuple[str, ...]:
    """The addresses whose replies to the container do not come back through the host."""
    if network.name == GATEWAY:
        return tuple(filter(None, (endpoint.ip, endpoint.ip6)))
    return tuple(config.subnet for config in network.ipam.configs)


def _gateway(network: LocalNetwork, address: str, version: int) -> str:
    """The gateway of a network's endpoints: none on an internal one, and the link itself where a driver has none."""
    if network.internal:
        return ""
    if not address and network.driver == "ipvlan" and (network.ipv4 if version == 4 else network.ipv6):
        return _OPEN_LINK[version]
    return address


def zone_member(config: ContainerConfig, endpoint: EndpointSettings) -> LocalMember:
    names = dict.fromkeys((config.name, *endpoint.aliases, config.id[:12], config.hostname))
    ports = [each.partition("/") for each in dict.fromkeys((*config.exposed_ports, *config.port_bindings))]
    return LocalMember(
        tuple(filter(None, names)),
        tuple(filter(None, (endpoint.ip, endpoint.ip6))),
        tuple((protocol or "tcp", int(number)) for number, _, protocol in ports if number.isdigit()),
    )


def link_pairs(endpoint: EndpointSettings) -> tuple[tuple[str, str], ...]:
    pairs = [parse_link(link) for link in endpoint.links]
    return tuple((alias, name[:12] if len(name) == ID_DIGITS else name) for name, alias in pairs)
