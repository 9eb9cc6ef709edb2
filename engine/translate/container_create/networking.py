"""Network settings of a new container: `NetworkMode`, `NetworkingConfig`, DNS, extra hosts and ports."""

import functools
import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agent.container.model import NetworkRequest
from covey.errors import InvalidArgumentError
from engine.translate.container_create import ports
from engine.translate.container_create.config import UserConfig
from engine.translate.json_fields import JsonFields

DEFAULT_MODE = "bridge"
HOST, NONE = "host", "none"
HOST_GATEWAY = "host-gateway"
_CONTAINER = "container:"
_MAC = re.compile(r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}")


def read_networking(fields: JsonFields, endpoints: JsonFields | None, config: UserConfig) -> dict[str, Any]:
    """The fields of the container's configuration. ``endpoints`` is `NetworkingConfig`."""
    mode = fields.text("NetworkMode")
    if mode in {"", "default"}:
        mode = DEFAULT_MODE
    links = _links(fields)
    dns = fields.text_list("Dns")
    extra_hosts = fields.text_list("ExtraHosts")
    publish_all = fields.flag("PublishAllPorts")
    bindings = ports.read_bindings(fields)
    for entry in extra_hosts:
        _check_extra_host(entry)
    _check_mode(mode, config, links=links, dns=dns, extra_hosts=extra_hosts, publishing=publish_all or bool(bindings))
    requests = _requests(mode, endpoints, config)
    return {
        "network_mode": mode,
        "netns_path": HOST if mode == HOST else "",
        "requested_networks": requests,
        "links": links,
        "dns": dns,
        "dns_options": fields.text_list("DnsOptions"),
        "dns_search": fields.text_list("DnsSearch"),
        "extra_hosts": extra_hosts,
        "publish_all_ports": publish_all,
        "port_bindings": bindings,
    }


def read_connect(body: Any) -> tuple[NetworkRequest, str]:
    """The request and the container of `POST /networks/NAME/connect`; the network itself is in the path."""
    fields = JsonFields(body)
    container = _container(fields)
    request = fields.read("EndpointConfig", functools.partial(_endpoint, ""))
    fields.refuse_unsupported()
    return request or NetworkRequest(network=""), container


def read_disconnect(body: Any) -> tuple[str, bool]:
    """The container and `Force` of `POST /networks/NAME/disconnect`."""
    fields = JsonFields(body)
    container = _container(fields)
    force = fields.flag("Force")
    fields.refuse_unsupported()
    return container, force


def _container(fields: JsonFields) -> str:
    name = fields.text("Container")
    if not name:
        raise InvalidArgumentError('invalid name or ID supplied: ""')
    return name


def network_warnings(mode: str, bindings: Mapping[str, Any]) -> list[str]:
    """Warnings in Docker's words."""
    discarded = mode == HOST and any(bindings.values())
    return ["Published ports are discarded when using host network mode"] if discarded else []


def _check_mode(
    mode: str,
    config: UserConfig,
    *,
    links: Sequence[str],
    dns: Sequence[str],
    extra_hosts: Sequence[str],
    publishing: bool,
) -> None:
    """Refuse what conflicts with the network mode, in Docker's words and order."""
    is_container = mode.partition(":")[0] == "container"
    if is_container and not mode.removeprefix("container").strip(":"):
        raise InvalidArgumentError("Invalid network mode: invalid container format container:<name|id>")
    conflicts = (
        (is_container and config.hostname, "hostname and the network mode"),
        (
            is_container and links,
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (is_container and dns, "dns and the network mode"),
        (is_container and extra_hosts, "custom host-to-IP mapping and the network mode"),
        (is_container and config.mac_address, "mac-address and the network mode"),
        (is_container and publishing, "port publishing and the container type network mode"),
        (is_container and config.exposed_ports, "port exposing and the container type network mode"),
        (
            mode == HOST and links,
            "host type networking can't be used with links. This would result in undefined behavior",
        ),
        (mode == HOST and config.mac_address, "mac-address and the network mode"),
    )
    for conflict, sentence in conflicts:
        if conflict:
            raise InvalidArgumentError(f"conflicting options: {sentence}")


def _check_extra_host(entry: str) -> None:
    separator = "=" if "=" in entry else ":"
    name, found, address = entry.partition(separator)
    if not found or not name:
        raise InvalidArgumentError(f'bad format for add-host: "{entry}"')
    if address == HOST_GATEWAY:
        return
    try:
        ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        raise InvalidArgumentError(f'invalid IP address in add-host: "{address}"') from None


def _requests(mode: str, endpoints: JsonFields | None, config: UserConfig) -> tuple[NetworkRequest, ...]:
    """One request for each network; that of the network mode comes first."""
    found = {request.network: request for request in _endpoints(endpoints, mode)}
    if mode in {HOST, NONE} or mode.startswith(_CONTAINER):
        return tuple(found.values())
    own = found.pop(mode, NetworkRequest(network=mode))
    if config.mac_address and not own.mac:
        own = msgspec.structs.replace(own, mac=_mac(config.mac_address))
    return (own, *found.values())


def _endpoints(fields: JsonFields | None, mode: str) -> list[NetworkRequest]:
    configs = fields.child("EndpointsConfig") if fields else None
    if configs is None:
        return []
    requests = []
    for name in configs.names():
        network = mode if name == "default" else name
        endpoint = configs.read(name, functools.partial(_endpoint, network))
        requests.append(endpoint or NetworkRequest(network=network))
    return requests


def _endpoint(network: str, fields: JsonFields) -> NetworkRequest:
    """An `EndpointSettings` as a client sends it. What `docker inspect` adds to it (addresses in use) is not a request."""
    for name in (
        "NetworkID", "EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "IPv6Gateway", "GlobalIPv6Address",
        "GlobalIPv6PrefixLen", "DNSNames",
    ):  # fmt: skip
        fields.raw(name)
    ip, ip6 = "", ""
    link_local: tuple[str, ...] = ()
    ipam = fields.child("IPAMConfig")
    if ipam is not None:
        ip, ip6, link_local = ipam.text("IPv4Address"), ipam.text("IPv6Address"), ipam.text_list("LinkLocalIPs")
        ipam.refuse_unsupported()
    mac = fields.text("MacAddress")
    return NetworkRequest(
        network=network,
        aliases=fields.text_list("Aliases"),
        links=_links(fields),
        ip=_address(ip, 4),
        ip6=_address(ip6, 6),
        link_local_ips=tuple(_link_local(each) for each in link_local),
        gateway_priority=fields.number("GwPriority"),
        mac=_mac(mac) if mac else "",
        driver_options=fields.text_map("DriverOpts"),
    )


def _links(fields: JsonFields) -> tuple[str, ...]:
    links = fields.text_list("Links")
    for link in links:
        name, separator, alias = link.partition(":")
        if not name or ":" in alias or (separator and not alias):
            raise InvalidArgumentError(f"bad format for links: {link}")
    return links


def _address(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text) if text else None
    except ValueError:
        address = None
    if text and (address is None or address.version != version):
        raise InvalidArgumentError(f"invalid IPv{version} address: {text}")
    return str(address) if address else ""


def _link_local(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.is_loopback or address.is_multicast or address.is_unspecified:
        raise InvalidArgumentError(f"invalid link-local IP address: {text}")
    return str(address)


def _mac(text: str) -> str:
    if not _MAC.fullmatch(text):
        raise InvalidArgumentError(f"{text} is not a valid mac address")
    return text.lower().replace("-", ":")
