"""Parsers of ``--publish`` and ``--expose`` of containers. Pure."""

import ipaddress
from typing import Any

from cli.parse.key_values import parse_fields
from covey.errors import InvalidArgumentError

PROTOCOLS = ("tcp", "udp", "sctp")
MAX_PORT = 65535
Bindings = dict[str, list[dict[str, str]]]


def publish(text: str) -> Bindings:
    """Bindings by container port from ``[IP:][HOST[-HOST]:]CONTAINER[-CONTAINER][/PROTOCOL]`` or ``published=,target=,protocol=``.

    Raises:
        InvalidArgumentError: a port, an address or a protocol that is none, or ranges of different length.
    """
    text = _short_form(text) if "=" in text else text
    numbers, _, protocol = text.partition("/")
    protocol = _protocol(protocol)
    address, host, container = _split(numbers)
    first, last = _range(container, f"invalid containerPort: {container}")
    host_first, host_last = _range(host, f"invalid hostPort: {host}") if host else (0, 0)
    count = last - first
    if host and host_last - host_first != count and count:
        raise InvalidArgumentError(f"invalid ranges specified for container and host Ports: {container} and {host}")
    result: Bindings = {}
    for offset in range(count + 1):
        published = ""
        if host:
            published = host if not count else str(host_first + offset)
        result[f"{first + offset}/{protocol}"] = [{"HostIp": address, "HostPort": published}]
    return result


def merge(bindings: list[Bindings]) -> Bindings:
    """All bindings of each container port."""
    result: Bindings = {}
    for item in bindings:
        for port, found in item.items():
            result.setdefault(port, []).extend(found)
    return result


def expose(text: str) -> list[str]:
    """Container ports such as ``80/tcp`` from ``80[-90][/PROTOCOL]``."""
    if ":" in text:
        raise InvalidArgumentError(f"invalid port format for --expose: {text}")
    numbers, _, protocol = text.partition("/")
    first, last = _range(numbers, f"invalid range format for --expose: {text}")
    return [f"{port}/{protocol or 'tcp'}" for port in range(first, last + 1)]


def _short_form(text: str) -> str:
    known = {name: name for name in ("published", "target", "protocol", "mode", "app_protocol", "name")}
    values: dict[str, Any] = parse_fields(text, "publish", known)
    return f"{values.get('published', '')}:{values.get('target', '')}/{values.get('protocol', 'tcp')}"


def _protocol(text: str) -> str:
    protocol = (text or "tcp").lower()
    if protocol not in PROTOCOLS:
        raise InvalidArgumentError(f"invalid proto: {text}")
    return protocol


def _split(text: str) -> tuple[str, str, str]:
    """The address of the host, the host's ports and the container's ports."""
    rest, _, container = text.rpartition(":")
    if not container:
        raise InvalidArgumentError(f"no port specified: {text}<empty>")
    address, _, host = rest.rpartition(":")
    if address:
        address = address.removeprefix("[").removesuffix("]")
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise InvalidArgumentError(f"invalid IP address: {address}") from None
    return address, host, container


def _range(text: str, message: str) -> tuple[int, int]:
    first, separator, last = text.partition("-")
    if not first.isdigit() or (separator and not last.isdigit()):
        raise InvalidArgumentError(message)
    start, end = int(first), int(last) if separator else int(first)
    if start > end or end > MAX_PORT:
        raise InvalidArgumentError(message)
    return start, end
