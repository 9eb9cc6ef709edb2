"""Published ports of services: the short and the long form of ``--publish`` and of a stack file's ``ports``. Pure."""

from typing import Any

from cli.parse.key_values import parse_fields
from covey.errors import InvalidArgumentError

PROTOCOLS = ("tcp", "udp", "sctp")
MODES = ("ingress", "host")
MAX_PORT = 65_535
FIELDS = ("published", "target", "protocol", "mode")
Port = dict[str, Any]


def expand_ports(text: str) -> list[str]:
    """The long form of each port of ``[PUBLISHED[-PUBLISHED]:]TARGET[-TARGET][/PROTOCOL]``; a text in the long form as it is.

    Raises:
        InvalidArgumentError: a port or protocol that is none, ranges of different length, or an address.
    """
    if "=" in text:
        return [text]
    numbers, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise InvalidArgumentError(f"--publish {text}: invalid proto: {protocol}")
    rest, _, container = numbers.rpartition(":")
    address, _, host = rest.rpartition(":")
    if address:
        raise InvalidArgumentError(
            f"--publish {text}: a service is published on all addresses of its nodes; leave {address} out"
        )
    targets = _range(text, container, "containerPort")
    published: list[int | str] = list(_range(text, host, "hostPort")) if host else [""] * len(targets)
    if len(published) != len(targets) and len(targets) > 1:
        raise InvalidArgumentError(f"--publish {text}: invalid ranges specified for container and host Ports")
    return [
        f"published={number},target={targets[at if len(targets) > 1 else 0]},protocol={protocol},mode=ingress"
        for at, number in enumerate(published)
    ]


def parse_port(text: str) -> Port:
    """A published port from ``published=,target=,protocol=,mode=``.

    Raises:
        InvalidArgumentError: names the field.
    """
    values = parse_fields(text, "publish", {name: name for name in FIELDS})
    if not values.get("target"):
        raise InvalidArgumentError(f"--publish {text}: missing mandatory field 'target'")
    protocol, mode = values.get("protocol", "tcp").lower(), values.get("mode", "ingress").lower()
    if protocol not in PROTOCOLS:
        raise InvalidArgumentError(f"--publish {text}: invalid protocol value '{protocol}'")
    if mode not in MODES:
        raise InvalidArgumentError(
            f"--publish {text}: invalid publish mode value ({mode}): must be either 'ingress' or 'host'"
        )
    result: Port = {"TargetPort": _number(text, "target", values["target"]), "Protocol": protocol, "PublishMode": mode}
    if values.get("published"):
        result["PublishedPort"] = _number(text, "published", values["published"])
    return result


def port_identity(port: Port) -> str:
    """The text that tells published ports apart: all fields."""
    return f"{port_reference(port)}/{port.get('PublishedPort', 0)}"


def port_reference(port: Port) -> str:
    """What ``--publish-rm`` compares: target port, protocol and mode."""
    return f"{port['TargetPort']}/{port.get('Protocol', 'tcp')}/{port.get('PublishMode', 'ingress')}"


def _number(text: str, field: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) <= MAX_PORT):
        raise InvalidArgumentError(
            f"--publish {text}: invalid {field} port ({value}): must be an integer, {MAX_PORT} at most"
        )
    return int(value)


def _range(text: str, value: str, what: str) -> range:
    first, separator, last = value.partition("-")
    last = last if separator else first
    if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
        raise InvalidArgumentError(f"--publish {text}: invalid {what}: {value}")
    if not int(first) <= int(last) <= MAX_PORT:
        raise InvalidArgumentError(f"--publish {text}: invalid {what}: {value}")
    return range(int(first), int(last) + 1)
