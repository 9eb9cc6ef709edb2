"""Canonical forms that only stack files have: memory as bytes, ``NAME:ADDRESS`` hosts, long forms of ports and volumes. Pure."""

from compose.conversion import Form, as_mapping
from compose.forms import COMMON_FORMS, decoding_error, go_text
from compose.nodes import MappingNode, Node, node_of, plain
from compose.stack.ports import parse_ports
from compose.stack.volumes import parse_volume
from covey.errors import InvalidArgumentError
from covey.quantities import parse_bytes


def memory(node: Node, path: str) -> Node:
    """Bytes as a text; zero is no limit and empty."""
    try:
        return node_of(str(parse_bytes(str(plain(node))) or ""), node.location)
    except InvalidArgumentError as error:
        raise decoding_error(node, path, f"invalid size: '{plain(node)}'") from error


def hosts(node: Node, _: str) -> Node:
    """``NAME:ADDRESS`` lines; an entry without an address is left out, as docker does."""
    if isinstance(node, MappingNode):
        lines = sorted(f"{name}:{go_text(plain(item))}" for name, item in node.items.items())
        return node_of(lines, node.location)
    result = []
    for line in plain(node):
        name, found, address = line.partition("=" if "=" in line else ":")
        bracketed = address.startswith("[") and address.endswith("]")
        result += [f"{name}:{address[1:-1] if bracketed else address}"] if found else []
    return node_of(result, node.location)


def short_ports(node: Node, path: str) -> list[Node]:
    """The ports of a short form as long ones."""
    if isinstance(value := plain(node), float):
        raise decoding_error(node, path, "invalid type float64 for port")
    ports = parse_ports(str(value))
    return [
        node_of(
            {
                "mode": "ingress",
                "target": port.target,
                "published": port.published,
                "protocol": port.protocol,
                "host_ip": port.address,
            },
            node.location,
        )
        for port in ports
    ]


def short_volume(node: Node, path: str) -> Node:
    """A volume of the short form as a long one."""
    try:
        return node_of(parse_volume(str(plain(node))), node.location)
    except ValueError as error:
        raise decoding_error(node, path, str(error)) from error


def pause(node: Node, path: str) -> Node:
    """A duration; zero is empty."""
    converted = COMMON_FORMS["duration"](node, path)
    return node_of("", node.location) if plain(converted) == "0s" else converted


def ulimits(node: Node, _: str) -> Node:
    """One number, or soft and hard; as docker prints them, zero is left out."""
    node = as_mapping(node)
    return node.with_items({key: _ulimit(item) for key, item in node.items.items()})


def _ulimit(node: Node) -> Node:
    if isinstance(node, MappingNode):
        return node.with_items({key: item for key, item in node.items.items() if plain(item)})
    return node if plain(node) else node_of({}, node.location)


FORMS: dict[str, Form] = {**COMMON_FORMS, "memory": memory, "hosts": hosts, "pause": pause, "ulimits": ulimits}
