"""How later Compose files override earlier ones, by the rules of the Compose Specification. Pure.

Files are merged in canonical form. Mappings are merged, lists are appended, single values override. ``!reset`` removes what is there,
``!override`` replaces it. Words are replaced, also by null, as variables are; lists whose entries have an identity (a port, a mount's
target) hold one entry for each.
"""

from collections.abc import Iterable, Iterator

from compose.nodes import OVERRIDE, RESET, ListNode, MappingNode, Node, is_null, plain

_WORDS = {"command", "entrypoint"}
_REPLACED = _WORDS | {"test"}
_VARIABLES = {"environment", "args"}
_UNIQUE = {
    "cap_add",
    "cap_drop",
    "dns",
    "dns_opt",
    "dns_search",
    "expose",
    "profiles",
    "tags",
    "platforms",
    "links",
    "external_links",
    "group_add",
    "security_opt",
    "tmpfs",
    "aliases",
    "link_local_ips",
    "extra_hosts",
}


Path = tuple[str, ...]


def without_resets(node: MappingNode) -> MappingNode:
    """A file without the values marked ``!reset``."""
    items = {key: item for key, item in node.items.items() if item.tag != RESET}
    return node.with_items(
        {key: without_resets(item) if isinstance(item, MappingNode) else item for key, item in items.items()}
    )


def replaced_paths(node: MappingNode, path: Path = ()) -> Iterator[Path]:
    """The paths whose earlier values do not count: those marked ``!reset`` or ``!override``."""
    for key, item in node.items.items():
        if item.tag in (RESET, OVERRIDE):
            yield (*path, key)
        elif isinstance(item, MappingNode):
            yield from replaced_paths(item, (*path, key))


def merge_projects(old: MappingNode, new: MappingNode, replaced: Iterable[Path] = ()) -> MappingNode:
    """One canonical file of two.

    Args:
        old: the earlier file.
        new: the later file.
        replaced: the paths of the later file whose earlier values do not count.
    """
    for path in replaced:
        old = _without(old, path)
    return merge_mappings(old, new)


def _without(node: MappingNode, path: Path) -> MappingNode:
    key, *rest = path
    child = node.get(key)
    if child is None:
        return node
    items = dict(node.items)
    if not rest:
        del items[key]
    elif isinstance(child, MappingNode):
        items[key] = _without(child, tuple(rest))
    return node.with_items(items)


def merge_mappings(old: MappingNode, new: MappingNode) -> MappingNode:
    """A mapping with the keys of both."""
    items = dict(old.items)
    for key, value in new.items.items():
        items[key] = _merged(key, items[key], value) if key in items else value
    return MappingNode(items, old.location, {**old.keys, **new.keys})


def _merged(key: str, old: Node, new: Node) -> Node:
    if is_null(new) and key not in _WORDS:
        return old
    if key in _REPLACED:
        return new
    if isinstance(old, MappingNode) and isinstance(new, MappingNode):
        if key in _VARIABLES:
            return old.with_items({**old.items, **new.items})
        return _logging(old, new) if key == "logging" else merge_mappings(old, new)
    if isinstance(old, ListNode) and isinstance(new, ListNode):
        return distinct_entries(key, ListNode((*old.items, *new.items), old.location))
    return new


def _logging(old: MappingNode, new: MappingNode) -> Node:
    """Options are merged unless the driver changes."""
    drivers = [plain(node.items["driver"]) for node in (old, new) if "driver" in node.items]
    return new if len(set(drivers)) > 1 else merge_mappings(old, new)


def distinct_entries(key: str, node: ListNode) -> ListNode:
    """A list with one entry for each identity: the later one, in the earlier one's place."""
    merged: dict[object, Node] = {}
    for index, item in enumerate(node.items):
        identity = _identity(key, item)
        merged[index if identity is None else identity] = item
    return ListNode(tuple(merged.values()), node.location)


def _identity(key: str, item: Node) -> object:
    """What makes an entry of a list the same as another; None if nothing does."""
    if not isinstance(item, MappingNode):
        return (key, plain(item)) if key in _UNIQUE else None
    value = plain(item)
    if key == "ports":
        return (key, *(value.get(name) for name in ("mode", "host_ip", "target", "published", "protocol")))
    if key in ("volumes", "devices"):
        return (key, value.get("target"))
    if key in ("secrets", "configs"):
        source = value.get("source")
        return (key, value.get("target") or (f"/run/secrets/{source}" if key == "secrets" else f"/{source}"))
    return (key, value.get("path")) if key in ("env_file", "watch") else None
