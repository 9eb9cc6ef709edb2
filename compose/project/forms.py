"""Canonical forms of the Compose Specification: typed scalars, long forms of dependencies, devices, hosts and requests. Pure."""

import re

from compose.conversion import Form, as_list, as_mapping
from compose.forms import COMMON_FORMS, decoding_error, go_text
from compose.interpolation import cast_scalar
from compose.nodes import ListNode, MappingNode, Node, ScalarNode, is_null, node_of, plain
from covey.errors import InvalidArgumentError
from covey.quantities import parse_bytes

ALL_DEVICES = -1
_LIMIT = 1 << 63
_HOURS = {"d": 24, "w": 168}
DEFAULT_PERMISSIONS = "rwm"


def boolean(node: Node, path: str) -> Node:
    value = plain(node)
    if isinstance(value, bool):
        return node
    try:
        return node_of(cast_scalar(str(value), "boolean"), node.location)
    except ValueError as error:
        raise decoding_error(node, path, str(error)) from error


def integer(node: Node, path: str) -> Node:
    return _number(node, path, whole=True)


def number(node: Node, path: str) -> Node:
    return _number(node, path, whole=False)


def _number(node: Node, path: str, *, whole: bool) -> Node:
    written = plain(node)
    try:
        value = int(written) if whole and isinstance(written, str) else float(written)
    except (ValueError, OverflowError) as error:
        raise decoding_error(node, path, f"{written!r} is not a number") from error
    if not abs(value) < _LIMIT:
        raise decoding_error(node, path, f"{written!r} is not a number of 64 bits")
    return node_of(int(value) if whole or value == int(value) else value, node.location)


def duration(node: Node, path: str) -> Node:
    """The duration as Go prints it; days and weeks are hours."""
    value = re.sub(r"([\d.]+)([dw])", lambda match: f"{float(match[1]) * _HOURS[match[2]]:.6f}h", str(plain(node)))
    return COMMON_FORMS["duration"](node_of(value, node.location), path)


def unique(node: Node, _: str) -> Node:
    """The texts of a list, each once."""
    node = as_list(node)
    texts: dict[str, Node] = {}
    for item in node.items:
        value = go_text(plain(item))
        texts.setdefault(value, node_of(value, item.location))
    return ListNode(tuple(texts.values()), node.location)


def one_or_unique(node: Node, path: str) -> Node:
    """The texts of a list, or one text, each once."""
    return unique(COMMON_FORMS["list"](node, path), path)


def text(node: Node, _: str) -> Node:
    value = plain(node)
    return node_of(str(value).lower() if isinstance(value, bool) else go_text(value), node.location)


def size(node: Node, path: str) -> Node:
    """Bytes as a text; -1 is no limit, and zero is empty."""
    value = plain(node)
    if value == "-1":
        return node
    if isinstance(value, int | float):
        return node_of(str(int(value) or ""), node.location)
    try:
        return node_of(str(parse_bytes(value) or ""), node.location)
    except InvalidArgumentError as error:
        raise decoding_error(node, path, f"invalid size: '{value}'") from error


def mode(node: Node, path: str) -> Node:
    """The permissions of a file as an octal text."""
    value = plain(node)
    if isinstance(value, str):
        try:
            value = int(value, 8)
        except ValueError as error:
            raise decoding_error(node, path, f"{value!r} is not an octal number") from error
    return node_of(f"{int(value):04o}", node.location)


def words(node: Node, path: str) -> Node:
    return node if is_null(node) else COMMON_FORMS["words"](node, path)


def pairs(node: Node, path: str) -> Node:
    """A mapping of texts; booleans are written as in the file's language."""
    return COMMON_FORMS["pairs"](_without_booleans(node), path)


def variables(node: Node, path: str) -> Node:
    return COMMON_FORMS["variables"](_without_booleans(node), path)


def _without_booleans(node: Node) -> Node:
    if not isinstance(node, MappingNode):
        return node
    return node.with_items(
        {
            key: node_of(str(plain(item)).lower(), item.location) if isinstance(plain(item), bool) else item
            for key, item in node.items.items()
        }
    )


def hosts(node: Node, path: str) -> Node:
    """``NAME=ADDRESS`` lines, ordered.

    Raises:
        ComposeFileError: an entry without an address.
    """
    lines: list[str] = []
    if isinstance(node, MappingNode):
        for name, item in node.items.items():
            addresses = plain(item)
            lines += [f"{name}={_bare(one)}" for one in (addresses if isinstance(addresses, list) else [addresses])]
    else:
        for line in plain(node):
            name, found, address = line.partition("=" if "=" in line else ":")
            if not found:
                raise decoding_error(node, path, f'bad host name "{line}"')
            lines.append(f"{name}={_bare(address)}")
    return node_of(sorted(lines), node.location)


def _bare(address: str) -> str:
    return address[1:-1] if address.startswith("[") and address.endswith("]") else address


def dependencies(node: Node, _: str) -> Node:
    """Services by name, each with its condition and whether it is required."""
    if isinstance(node, ListNode):
        started = {"condition": "service_started", "required": True}
        return MappingNode({str(plain(item)): node_of(started, item.location) for item in node.items}, node.location)
    node = as_mapping(node)
    items = {}
    for key, item in node.items.items():
        assert isinstance(item, MappingNode)  # noqa: S101 — validated
        required = item.get("required") or node_of(value=True, location=item.location)
        known = {name: value for name, value in item.items.items() if name != "restart" or plain(value)}
        items[key] = item.with_items({**known, "required": boolean(required, key)})
    return node.with_items(items)


def devices(node: Node, _: str) -> Node:
    """Mappings of devices with source, target and permissions."""
    node = as_list(node)
    items: list[Node] = []
    for item in node.items:
        if isinstance(item, ScalarNode):
            source, _, rest = str(item.value).partition(":")
            target, _, permissions = rest.partition(":")
        else:
            value = plain(item)
            source, target, permissions = (value.get(key, "") for key in ("source", "target", "permissions"))
        long = {"source": source, "target": target or source, "permissions": permissions or DEFAULT_PERMISSIONS}
        items.append(node_of(long, item.location))
    return ListNode(tuple(items), node.location)


def device_count(node: Node, path: str) -> Node:
    return node_of(ALL_DEVICES, node.location) if plain(node) == "all" else integer(node, path)


def ssh(node: Node, _: str) -> Node:
    """``ID[=PATH]`` lines."""
    if isinstance(node, ListNode):
        return node
    node = as_mapping(node)
    return node_of(
        [key if is_null(item) else f"{key}={go_text(plain(item))}" for key, item in node.items.items()], node.location
    )


def ulimits(node: Node, path: str) -> Node:
    """One number, or soft and hard."""
    node = as_mapping(node)
    items: dict[str, Node] = {}
    for key, item in node.items.items():
        if isinstance(item, MappingNode):
            items[key] = item.with_items(
                {name: integer(item.items[name], path) for name in ("soft", "hard") if name in item.items}
            )
        else:
            items[key] = integer(item, path)
    return node.with_items(items)


FORMS: dict[str, Form] = {
    **COMMON_FORMS,
    "boolean": boolean,
    "duration": duration,
    "unique": unique,
    "list": one_or_unique,
    "integer": integer,
    "number": number,
    "text": text,
    "size": size,
    "mode": mode,
    "words": words,
    "pairs": pairs,
    "variables": variables,
    "hosts": hosts,
    "dependencies": dependencies,
    "devices": devices,
    "device_count": device_count,
    "ssh": ssh,
    "ulimits": ulimits,
}
