"""The wanted state of all namespaces: the union of fragments, with equal items counted. Pure.

Invariant: an item is wanted while at least one fragment wants it, and all fragments that do want the same value.
Invariant: the cost of a change follows the size of the fragments that changed, not that of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.network.namespace_state import Fragment, Link
from agent.network.plan.diff import conflict
from agent.network.plan.items import Item, Items, Value, flatten


class WantedState:
    """The fragments by key, and their union by namespace."""

    def __init__(self) -> None:
        self._fragments: dict[str, dict[str, Items]] = {}
        self._values: dict[str, Items] = {}
        self._owners: dict[str, dict[Item, str | dict[str, None]]] = {}
        """By namespace. A table may have thousands of owners, most items have one."""
        self._makers: dict[tuple[str, str], tuple[str, str]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._fragments

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces in which anything is wanted."""
        return tuple(self._values)

    def items(self, namespace: str) -> Items:
        """A copy of all that is wanted in a namespace."""
        return dict(self._values.get(namespace, {}))

    def select(self, namespace: str, items: set[Item]) -> Items:
        """What is wanted of these items."""
        values = self._values.get(namespace, {})
        return {item: values[item] for item in items if item in values}

    def owners(self, namespace: str, item: Item) -> tuple[str, ...]:
        """The keys of the fragments that want an item."""
        found = self._owners.get(namespace, {}).get(item, ())
        return (found,) if isinstance(found, str) else tuple(found)

    def fragment_items(self, key: str) -> Iterator[tuple[str, Item]]:
        """The items of a fragment, each with its namespace."""
        return ((namespace, item) for namespace, items in self._fragments.get(key, {}).items() for item in items)

    def maker(self, namespace: str, device: str) -> tuple[str, str] | None:
        """Namespace and name of the veth end that makes this one, if there is such an end."""
        return self._makers.get((namespace, device))

    def replace(self, key: str, fragment: Fragment | None) -> dict[str, set[Item]]:
        """Put a fragment, or drop it with None. Returns the items whose wanted value changed, by namespace.

        Raises ConflictError when another fragment wants a different value of an item, InvalidArgumentError for a malformed
        state. Nothing has changed then.
        """
        new = {namespace: flatten(state) for namespace, state in (fragment or {}).items()}
        self._check(key, new)
        old = self._fragments.get(key, {})
        changed: dict[str, set[Item]] = {}
        for namespace in old.keys() | new.keys():
            before, after = old.get(namespace, {}), new.get(namespace, {})
            touched = {item for item in before if item not in after and self._release(namespace, item, key)}
            touched |= {item for item, value in after.items() if self._claim(namespace, item, value, key)}
            touched |= self._reloaded(namespace, {item for item in touched if item[0] == "set" and item in before})
            if touched:
                changed[namespace] = touched
        for namespace in changed:
            if not self._values.get(namespace):
                self._values.pop(namespace, None)
                self._owners.pop(namespace, None)
        if new:
            self._fragments[key] = new
        else:
            self._fragments.pop(key, None)
        return changed

    def _check(self, key: str, new: Mapping[str, Items]) -> None:
        for namespace, items in new.items():
            values = self._values.get(namespace, {})
            for item, value in items.items():
                current = values.get(item)
                if current is not None and current != value:
                    others = [owner for owner in self.owners(namespace, item) if owner != key]
                    if others:
                        raise conflict(namespace, item, key, others)

    def _claim(self, namespace: str, item: Item, value: Value, key: str) -> bool:
        owners = self._owners.setdefault(namespace, {})
        current = owners.setdefault(item, key)
        if isinstance(current, dict):
            current[key] = None
        elif current != key:
            owners[item] = {current: None, key: None}
        values = self._values.setdefault(namespace, {})
        before = values.get(item)
        if before == value:
            return False
        values[item] = value
        if isinstance(before, Link) and before.peer is not None:
            self._makers.pop((before.peer.namespace, before.peer.name), None)
        if isinstance(value, Link) and value.peer is not None:
            self._makers[value.peer.namespace, value.peer.name] = (namespace, item[1])
        return True

    def _release(self, namespace: str, item: Item, key: str) -> bool:
        owners = self._owners[namespace]
        current = owners[item]
        if isinstance(current, dict):
            del current[key]
            if len(current) == 1:
                owners[item] = next(iter(current))
            return False
        del owners[item]
        value = self._values[namespace].pop(item)
        if isinstance(value, Link) and value.peer is not None:
            self._makers.pop((value.peer.namespace, value.peer.name), None)
        return True

    def _reloaded(self, namespace: str, altered_sets: set[Item]) -> set[Item]:
        """All that is wanted in the tables whose sets changed: a set is replaced only together with the chains that use it."""
        tables = {item[1] for item in altered_sets}
        if not tables:
            return set()
        return {
            item for item in self._values[namespace] if item[0] in {"chain", "set", "element"} and item[1] in tables
        }
