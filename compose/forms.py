"""Canonical forms that stack files and Compose projects share: word lists, mappings for ``KEY=VALUE`` lists, texts for numbers. Pure."""

import shlex

from compose.conversion import Form, as_list
from compose.errors import ComposeFileError
from compose.nodes import ListNode, MappingNode, Node, ScalarNode, is_null, node_of, plain
from compose.yaml_writer import go_float
from covey.errors import InvalidArgumentError
from covey.quantities import go_duration, parse_duration


def duration(node: Node, path: str) -> Node:
    try:
        return node_of(go_duration(parse_duration(str(plain(node)))), node.location)
    except InvalidArgumentError as error:
        raise decoding_error(node, path, error.message) from error


def integer(node: Node, _: str) -> Node:
    return node_of(int(plain(node)), node.location)


def one_or_list(node: Node, _: str) -> Node:
    return ListNode((node,), node.location) if isinstance(node, ScalarNode) else node


def words(node: Node, path: str) -> Node:
    """A list of words; a text is split as a shell does."""
    if isinstance(node, ListNode):
        return node
    try:
        return node_of(shlex.split(str(plain(node))), node.location)
    except ValueError as error:
        raise decoding_error(node, path, "EOF found when expecting closing quote") from error


def shell(node: Node, _: str) -> Node:
    """A health check's test: a text is run by the shell."""
    return node_of(["CMD-SHELL", node.value], node.location) if isinstance(node, ScalarNode) else node


def texts(node: Node, _: str) -> Node:
    """The values of a list or mapping as texts."""
    if isinstance(node, MappingNode):
        return node.with_items({key: _as_text(item) for key, item in node.items.items()})
    node = as_list(node)
    return ListNode(tuple(_as_text(item) for item in node.items), node.location)


def pairs(node: Node, _: str) -> Node:
    """A mapping of texts; a missing value is empty."""
    return _pairs(node, missing="")


def variables(node: Node, _: str) -> Node:
    """A mapping of texts; a missing value is null."""
    return _pairs(node, missing=None)


def decoding_error(node: Node, path: str, reason: str) -> ComposeFileError:
    return ComposeFileError(f"error decoding '{path}': {reason}", location=node.location)


def go_text(value: object) -> str:
    """A value as Go prints it in a text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return go_float(value)
    return str(value)


def _as_text(node: Node) -> Node:
    return node_of(go_text(plain(node)), node.location)


def _pairs(node: Node, missing: str | None) -> Node:
    if isinstance(node, MappingNode):
        return node.with_items(
            {
                key: node_of(missing if is_null(item) else go_text(plain(item)), item.location)
                for key, item in node.items.items()
            }
        )
    node = as_list(node)
    items: dict[str, Node] = {}
    for item in node.items:
        key, separator, value = str(plain(item)).partition("=")
        items[key] = node_of(value if separator else missing, item.location)
    return MappingNode(items, node.location)


COMMON_FORMS: dict[str, Form] = {
    "duration": duration,
    "integer": integer,
    "list": one_or_list,
    "words": words,
    "shell": shell,
    "texts": texts,
    "pairs": pairs,
    "variables": variables,
}
