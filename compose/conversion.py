"""Conversion of validated values to their canonical form, along the tables of a format. Pure."""

from collections.abc import Callable, Mapping

from compose.nodes import ListNode, MappingNode, Node, child_path, is_empty, is_null, node_of, plain
from compose.schema import Field, Kind, ListOf, OneOf, Table

Form = Callable[[Node, str], Node]
"""The canonical form of a value; takes its path for errors."""


class TableConverter:
    """Converts sections.

    Args:
        forms: the conversions that fields name.
        keep_extensions: keep ``x-`` keys of sections.
    """

    def __init__(self, forms: Mapping[str, Form], *, keep_extensions: bool = False) -> None:
        self._forms = forms
        self._keep_extensions = keep_extensions

    def table(self, node: MappingNode, path: str, table: Table) -> MappingNode:
        """The known keys of a section in the table's order, without those that are empty."""
        items: dict[str, Node] = {}
        for key, known in table.fields.items():
            item = node.get(key)
            if item is None or is_null(item):
                continue
            converted = self.value(item, child_path(path, key), known)
            if known.keep_empty or not is_empty(converted):
                items[key] = converted
        return node.with_items(items | (extensions(node) if self._keep_extensions else {}))

    def named_tables(self, node: Node, path: str, table: Table) -> MappingNode:
        """A mapping of sections by name, from a mapping or a list of names; a section without content is null."""
        if isinstance(node, ListNode):
            return MappingNode({str(plain(item)): node_of(None, item.location) for item in node.items}, node.location)
        mapping = as_mapping(node)
        return mapping.with_items(
            {
                key: self.table(item, child_path(path, key), table) if isinstance(item, MappingNode) else item
                for key, item in mapping.items.items()
            }
        )

    def listed_tables(self, node: Node, path: str, table: Table, short: Form) -> ListNode:
        """A list of sections; ``short`` is the long form of an entry that is not a section."""
        items = [
            self.table(item, child_path(path, index), table)
            if isinstance(item, MappingNode)
            else short(item, child_path(path, index))
            for index, item in enumerate(list_items(node))
        ]
        return ListNode(tuple(items), node.location)

    def value(self, node: Node, path: str, known: Field) -> Node:
        return self._forms[known.form](node, path) if known.form else self.nested(node, path, known.kind)

    def nested(self, node: Node, path: str, kind: Kind) -> Node:
        """A value with the tables within it converted."""
        if isinstance(kind, OneOf):
            shape = ListOf if isinstance(node, ListNode) else Table
            alternatives = [item for item in kind.kinds if isinstance(item, shape)]
            return self.nested(node, path, alternatives[0]) if alternatives else node
        if isinstance(kind, Table) and isinstance(node, MappingNode) and kind.fields:
            return self.table(node, path, kind)
        if isinstance(kind, ListOf) and isinstance(node, ListNode):
            items = (self.nested(item, child_path(path, index), kind.item) for index, item in enumerate(node.items))
            return ListNode(tuple(items), node.location)
        return node


def extensions(node: MappingNode) -> dict[str, Node]:
    """The keys that begin with ``x-``."""
    return {key: item for key, item in node.items.items() if key.startswith("x-")}


def without_extensions(node: MappingNode) -> MappingNode:
    return node.with_items({key: item for key, item in node.items.items() if not key.startswith("x-")})


def as_list(node: Node) -> ListNode:
    """A validated list."""
    assert isinstance(node, ListNode)  # noqa: S101 — the file was checked against the format
    return node


def list_items(node: Node) -> tuple[Node, ...]:
    """The items of a validated list."""
    return as_list(node).items


def as_mapping(node: Node) -> MappingNode:
    """A validated mapping."""
    assert isinstance(node, MappingNode)  # noqa: S101 — the file was checked against the format
    return node


def named_source(node: Node, _: str) -> Node:
    """The long form of a reference by name."""
    return node_of({"source": plain(node)}, node.location)
