"""A canonical stack as YAML, byte for byte what ``docker stack config`` prints. Pure."""

from typing import Any

from compose.nodes import ListNode, MappingNode, Node, plain
from compose.schema import Kind, ListOf, MapOf, OneOf, Table
from compose.stack import format as stack_format
from compose.yaml_writer import natural_order, write_yaml

_TABLES = {
    "services": stack_format.SERVICE,
    "networks": stack_format.NETWORK,
    "volumes": stack_format.VOLUME,
    "secrets": stack_format.SECRET,
    "configs": stack_format.CONFIG,
}


def stack_yaml(stack: MappingNode, version: str) -> str:
    """The text of a canonical stack."""
    content: dict[str, Any] = {"version": version, "services": {}}
    for section, table in _TABLES.items():
        found = stack.get(section)
        if isinstance(found, MappingNode) and found.items:
            content[section] = {key: _ordered(found.items[key], table) for key in natural_order(found.items)}
    for key in natural_order(key for key in stack.items if key.startswith("x-")):
        content[key] = _sorted(plain(stack.items[key]))
    return write_yaml(content)


def _ordered(node: Node, kind: Kind | None) -> Any:
    """Plain values: tables in their order, other mappings by their keys."""
    if isinstance(node, MappingNode):
        table = next((item for item in _alternatives(kind) if isinstance(item, Table)), None)
        if table is None:
            value = next((item.value for item in _alternatives(kind) if isinstance(item, MapOf)), None)
            return {key: _ordered(node.items[key], value) for key in natural_order(node.items)}
        known = {
            key: _ordered(node.items[key], field.kind)
            for key, field in table.fields.items()
            if key in node.items and not field.hidden
        }
        others = natural_order(key for key in node.items if key not in table.fields)
        return known | {key: _sorted(plain(node.items[key])) for key in others}
    if isinstance(node, ListNode):
        item_kind = next((item.item for item in _alternatives(kind) if isinstance(item, ListOf)), None)
        return [_ordered(item, item_kind) for item in node.items]
    return plain(node)


def _alternatives(kind: Kind | None) -> tuple[Kind | None, ...]:
    return kind.kinds if isinstance(kind, OneOf) else (kind,)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in natural_order(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
