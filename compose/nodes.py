"""Nodes of a Compose file: scalars, lists and mappings with their place in the file. Pure.

Invariant: nodes are not changed after they are made. A stage that changes a value makes a new node, with the location of the value that
it stands for.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from compose.errors import ComposeFileError, Location

Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]
ScalarValue = str | int | float | bool | None

RESET = "!reset"
OVERRIDE = "!override"


class ScalarNode(msgspec.Struct, frozen=True):
    """A single value. ``text`` is the value as written; ``tag`` is RESET, OVERRIDE or empty."""

    value: ScalarValue
    location: Location
    text: str = ""
    tag: str = ""


class ListNode(msgspec.Struct, frozen=True):
    items: tuple["Node", ...]
    location: Location
    tag: str = ""


class MappingNode(msgspec.Struct, frozen=True):
    """Values by key, in the file's order. ``keys`` has the places of the keys."""

    items: Mapping[str, "Node"]
    location: Location
    keys: Mapping[str, Location] = msgspec.field(default_factory=dict)
    tag: str = ""

    def get(self, key: str) -> "Node | None":
        return self.items.get(key)

    def with_items(self, items: Mapping[str, "Node"]) -> "MappingNode":
        return MappingNode(items, self.location, self.keys, self.tag)


Node = ScalarNode | ListNode | MappingNode


def plain(node: Node) -> Any:
    """The values of a node without places: str, int, float, bool, None, list, dict."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return {key: plain(item) for key, item in node.items.items()}


def node_of(value: Any, location: Location) -> Node:
    """The node of plain values, all at one place: for what a stage adds."""
    if isinstance(value, dict):
        return MappingNode({key: node_of(item, location) for key, item in value.items()}, location)
    if isinstance(value, list | tuple):
        return ListNode(tuple(node_of(item, location) for item in value), location)
    return ScalarNode(value, location, "" if value is None else str(value))


def is_null(node: Node | None) -> bool:
    return node is None or (isinstance(node, ScalarNode) and node.value is None)


def is_empty(node: Node) -> bool:
    """Whether a node is null, false, zero, or has no content."""
    return not (node.value if isinstance(node, ScalarNode) else node.items)


def child_path(path: str, key: str | int) -> str:
    """The path of a child as in ``services.web.ports.0``."""
    return f"{path}.{key}" if path else str(key)


def error(node: Node, path: str, reason: str) -> ComposeFileError:
    """The error of a value at its place."""
    return ComposeFileError(reason, location=node.location, path=path)


def walk(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """All nodes with their paths, parents first."""
    yield path, node
    if isinstance(node, MappingNode):
        for key, item in node.items.items():
            yield from walk(item, child_path(path, key))
    elif isinstance(node, ListNode):
        for index, item in enumerate(node.items):
            yield from walk(item, child_path(path, index))
