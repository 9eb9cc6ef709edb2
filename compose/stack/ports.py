"""Published ports of a stack's service in short form: ``[[ADDRESS:]PUBLISHED:]TARGET[/PROTOCOL]`` with ranges. Pure."""

import ipaddress
import re

import msgspec

_RANGE = re.compile(r"(?P<first>[0-9]+)(?:-(?P<last>[0-9]+))?", re.ASCII)
PROTOCOLS = ("tcp", "udp", "sctp")
MAX_PORT = 65535


class StackPort(msgspec.Struct, frozen=True):
    """A published port; ``published`` 0 is drawn by the cluster. ``address`` has no meaning on a cluster."""

    target: int
    published: int
    protocol: str
    address: str = ""


def is_port_text(text: str) -> bool:
    try:
        _ranges(text)
    except ValueError:
        return False
    return True


def port_count(text: str) -> int:
    """How many ports a short form stands for; errors as ``parse_ports``."""
    _, hosts, targets, _ = _ranges(text)
    return max(len(hosts or ()), len(targets))


def parse_ports(text: str) -> list[StackPort]:
    """The ports of a short form.

    Raises:
        ValueError: not of that form, or ranges of different length.
    """
    address, hosts, targets, protocol = _ranges(text)
    if hosts is None:
        return [StackPort(number, 0, protocol, address) for number in targets]
    if len(targets) == 1:
        return [StackPort(targets[0], number, protocol, address) for number in hosts]
    return [StackPort(number, host, protocol, address) for number, host in zip(targets, hosts, strict=True)]


def _ranges(text: str) -> tuple[str, range | None, range, str]:
    """Address, published ports if there are any, targets, and protocol."""
    address, published, target, protocol = _parts(text)
    if protocol not in PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol}")
    targets = _range(target)
    hosts = _range(published) if published else None
    if hosts is not None and len(hosts) != len(targets) and len(targets) != 1:
        raise ValueError(f"invalid ranges specified for container and host Ports: {target} and {published}")
    return address, hosts, targets, protocol


def _parts(text: str) -> tuple[str, str, str, str]:
    """Address, published, target and protocol."""
    rest, slash, protocol = text.partition("/")
    head, _, target = rest.rpartition(":")
    address, _, published = head.rpartition(":")
    if not target:
        raise ValueError(f"no port specified: {text}<empty>")
    address = address.removeprefix("[").removesuffix("]")
    if address:
        ipaddress.ip_address(address)
    return address, published, target, (protocol.lower() if slash and protocol else "tcp")


def _range(text: str) -> range:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid port: {text}")
    first, last = int(match["first"]), int(match["last"] or match["first"])
    if last < first or last > MAX_PORT:
        raise ValueError(f"invalid port: {text}")
    return range(first, last + 1)
