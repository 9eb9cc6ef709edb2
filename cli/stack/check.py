"""What a cluster does not honour in a stack's files: every key at once, with its place. Pure."""

from collections.abc import Iterator, Sequence

from compose.errors import Location
from compose.nodes import MappingNode, Node, plain
from compose.stack.ignored import DEPRECATED, has_no_meaning, ignored_nested

_IGNORED = "has no meaning on a cluster and is ignored"


def findings(content: MappingNode, described: MappingNode) -> list[str]:
    """One line for each key without a meaning on a cluster.

    Args:
        content: the canonical stack, without the keys that were given a meaning.
        described: the canonical files, whose nodes have the places of the keys.
    """
    originals = dict(_services(described))
    found = [
        line for key, service in _services(content) for line in _of_service(key, service, originals.get(key, service))
    ]
    return found + [f"{place}: {path}: {_IGNORED}" for path, place in ignored_nested(described)]


def unread_documents(places: Sequence[Location]) -> list[str]:
    """One line for each YAML document that is not read."""
    return [f"{place}: this YAML document is not read: docker stack reads the first of a file" for place in places]


def _of_service(name: str, service: MappingNode, original: MappingNode) -> Iterator[str]:
    for key, node in sorted(service.items.items()):
        reason = DEPRECATED.get(key, _IGNORED)
        if has_no_meaning(key, plain(node)):
            yield f"{_place(original, key, node)}: services.{name}.{key}: {reason}"
    for index, port in enumerate(plain(service.items["ports"]) if "ports" in service.items else ()):
        if port.get("host_ip"):
            place = _place(original, "ports", service)
            yield f"{place}: services.{name}.ports.{index}.host_ip: is ignored: the port is published on all addresses"


def _services(content: MappingNode) -> list[tuple[str, MappingNode]]:
    section = content.get("services")
    items = section.items if isinstance(section, MappingNode) else {}
    return [(key, node) for key, node in sorted(items.items()) if isinstance(node, MappingNode)]


def _place(service: MappingNode, key: str, node: Node) -> str:
    return str(service.keys.get(key) or service.items.get(key, node).location)
