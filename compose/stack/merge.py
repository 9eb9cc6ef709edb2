"""How later stack files override earlier ones, by the rules of the docker client. Pure.

Files are merged in canonical form. Lists are appended; mappings are merged; single values override unless they are empty. Exceptions:
ports, volumes, secrets, configs and limits are merged by an identity, words override, top-level objects are replaced, an empty label
overrides but an empty variable does not, and of an attachment to a network only aliases and addresses are taken over.
"""

from collections.abc import Mapping, Sequence

from compose.nodes import ListNode, MappingNode, Node, ScalarNode, is_null, plain

_REPLACED = {"command", "entrypoint"}
_LABELS = {"labels", "sysctls", "options"}
_VARIABLES = {"environment", "args"}
_IDENTITIES = {"ports": "published", "volumes": "target", "secrets": "source", "configs": "source"}
_ZERO_OVERRIDES = {"replicas", "parallelism", "max_attempts", "retries"}
_OBJECTS = ("networks", "volumes", "secrets", "configs")


def merge_stacks(stacks: Sequence[MappingNode]) -> MappingNode:
    """One canonical stack of all files; extensions at the top are those of the first file."""
    result = stacks[0]
    for stack in stacks[1:]:
        items = dict(result.items)
        for section in ("services", *_OBJECTS):
            if section in stack.items:
                items[section] = _section(section, items.get(section), stack.items[section])
        result = result.with_items(items)
    return result


def _section(section: str, old: Node | None, new: Node) -> Node:
    if not isinstance(old, MappingNode) or not isinstance(new, MappingNode):
        return new
    entries = dict(old.items)
    for key, item in new.items.items():
        known = entries.get(key)
        if isinstance(known, MappingNode) and isinstance(item, MappingNode) and section == "services":
            entries[key] = merge_mappings(known, item)
        else:
            entries[key] = item
    return old.with_items(entries)


def merge_mappings(old: MappingNode, new: MappingNode) -> MappingNode:
    """A mapping with the keys of both."""
    items = dict(old.items)
    for key, value in new.items.items():
        items[key] = _value(key, items[key], value) if key in items else value
    return MappingNode(items, old.location, {**old.keys, **new.keys})


def _value(key: str, old: Node, new: Node) -> Node:
    if key in _IDENTITIES and isinstance(old, ListNode) and isinstance(new, ListNode):
        return _by_identity(key, old, new)
    if key in _REPLACED:
        return new
    if key == "logging":
        return _logging(old, new)
    if isinstance(old, MappingNode) and isinstance(new, MappingNode):
        return _mappings(key, old, new)
    if isinstance(old, ListNode) and isinstance(new, ListNode):
        return ListNode((*old.items, *new.items), old.location)
    return new if _overrides(key, new) else old


def _overrides(key: str, new: Node) -> bool:
    """Zero, false and an empty text override nothing, except for numbers whose zero has a meaning."""
    if not isinstance(new, ScalarNode):
        return True
    return key in _ZERO_OVERRIDES or new.value not in ("", 0, False, "0s")


def _mappings(key: str, old: MappingNode, new: MappingNode) -> MappingNode:
    if key == "networks":
        attachments = {name: _attachment(old.get(name), item) for name, item in new.items.items()}
        return old.with_items({**old.items, **attachments})
    if key in _VARIABLES:
        return old.with_items({**old.items, **_variables(old, new)})
    if key in _LABELS or key == "ulimits":
        return old.with_items({**old.items, **new.items})
    return merge_mappings(old, new)


def _variables(old: MappingNode, new: MappingNode) -> dict[str, Node]:
    """The later variables: one without a value, or with an empty one, overrides nothing."""
    return {key: item for key, item in new.items.items() if key not in old.items or plain(item) not in (None, "")}


def _attachment(old: Node | None, new: Node) -> Node:
    """Aliases are replaced, also by none; addresses override; other keys are those of the earlier file."""
    if not isinstance(old, MappingNode) or not isinstance(new, MappingNode):
        return old if old is not None and is_null(new) else new
    taken = {key: new.items[key] for key in ("aliases", "ipv4_address", "ipv6_address") if key in new.items}
    kept = {key: item for key, item in old.items.items() if key != "aliases"}
    return old.with_items({**kept, **taken})


def _by_identity(key: str, old: ListNode, new: ListNode) -> ListNode:
    """The entries of both lists, one for each identity, in the order of the identities."""
    name = _IDENTITIES[key]
    merged = {_identity(item, name): item for item in (*old.items, *new.items)}
    order = sorted(merged, key=_number if name == "published" else str)
    return ListNode(tuple(merged[value] for value in order), old.location)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _identity(item: Node, name: str) -> object:
    found = item.get(name) if isinstance(item, MappingNode) else None
    return plain(found) if found is not None else None


def _logging(old: Node, new: Node) -> Node:
    """Options are merged unless the driver changes."""
    if not isinstance(old, MappingNode) or not isinstance(new, MappingNode):
        return new
    drivers: list[Mapping[str, Node]] = [node.items for node in (old, new) if "driver" in node.items]
    if len(drivers) == 2 and plain(old.items["driver"]) != plain(new.items["driver"]):
        return new
    return merge_mappings(old, new)
