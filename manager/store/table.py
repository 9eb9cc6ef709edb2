"""Tables of a view: persistent maps from id to object, and their indexes.

Invariant: a ``TableState`` never changes. ``put`` returns a new one that shares structure. Several objects come in the order of their ids,
so a plan made from them is repeatable. A table inside a transaction records what was read, so that the store finds conflicting
transactions.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, cast

from rpds import HashTrieMap, HashTrieSet

from covey.errors import ConflictError, NotFoundError
from covey.objects import Config, Network, Node, Object, Secret, Service, Task
from covey.states import NodeRole
from manager.store.schema import Schema

O = TypeVar("O", bound=Object)  # noqa: E741 - the usual name of this type variable

Touch = tuple[str, str, Hashable]
"""(kind, "id" or an index, key): something that a transaction reads or changes. (kind, "all", "") stands for the set of ids in a table,
(kind, "any", "") for the content of all its objects."""

_LISTED = 8
_EMPTY_BUCKET: HashTrieSet[str] = HashTrieSet()


class TableState:
    """The objects of one kind and their indexes."""

    __slots__ = ("indexes", "objects")

    def __init__(
        self, objects: HashTrieMap[str, Object], indexes: dict[str, HashTrieMap[Hashable, HashTrieSet[str]]]
    ) -> None:
        self.objects = objects
        self.indexes = indexes

    @classmethod
    def empty(cls, schema: Schema) -> TableState:
        return cls(HashTrieMap(), {name: HashTrieMap() for name in schema.indexes})

    @classmethod
    def of(cls, schema: Schema, items: Iterable[Object]) -> TableState:
        """Builds a table from all objects at once: much faster than one ``put`` after another."""
        objects = {item.id: item for item in items}
        indexes: dict[str, HashTrieMap[Hashable, HashTrieSet[str]]] = {}
        for name, keys in schema.indexes.items():
            buckets: dict[Hashable, list[str]] = {}
            for item in objects.values():
                for key in keys(item):
                    buckets.setdefault(key, []).append(item.id)
            indexes[name] = HashTrieMap({key: HashTrieSet(bucket) for key, bucket in buckets.items()})
        return cls(HashTrieMap(objects), indexes)

    def put(self, schema: Schema, object_id: str, after: Object | None) -> TableState:
        """A table with the object added, replaced or removed."""
        before = self.objects.get(object_id)
        objects = self.objects.discard(object_id) if after is None else self.objects.insert(object_id, after)
        indexes = self.indexes
        for name, lost, gained in moves(schema, before, after):
            if indexes is self.indexes:
                indexes = dict(indexes)
            indexes[name] = _move(indexes[name], object_id, lost, gained)
        return TableState(objects, indexes)


def moves(
    schema: Schema,
    before: Object | None,
    after: Object | None,
) -> Iterator[tuple[str, set[Hashable], set[Hashable]]]:
    """The indexes that a change affects, with the keys that the object leaves and the keys that it enters."""
    for name, keys in schema.indexes.items():
        old = set(keys(before)) if before is not None else set()
        new = set(keys(after)) if after is not None else set()
        if old != new:
            yield name, old - new, new - old


def touched(schema: Schema, object_id: str, before: Object | None, after: Object | None) -> set[Touch]:
    """Everything that a change alters for a reader."""
    touches: set[Touch] = {(schema.field, "id", object_id), (schema.field, "any", "")}
    if before is None or after is None:
        touches.add((schema.field, "all", ""))
    for name, lost, gained in moves(schema, before, after):
        touches.update((schema.field, name, key) for key in lost | gained)
    return touches


def _move(
    index: HashTrieMap[Hashable, HashTrieSet[str]],
    object_id: str,
    lost: set[Hashable],
    gained: set[Hashable],
) -> HashTrieMap[Hashable, HashTrieSet[str]]:
    for key in lost:
        bucket = index[key].discard(object_id)
        index = index.insert(key, bucket) if bucket else index.discard(key)
    for key in gained:
        index = index.insert(key, index.get(key, _EMPTY_BUCKET).insert(object_id))
    return index


class Table(Generic[O]):
    """Read access to the objects of one kind."""

    __slots__ = ("_reads", "_schema", "_state")

    def __init__(self, schema: Schema, state: TableState, reads: set[Touch] | None = None) -> None:
        self._schema = schema
        self._state = state
        self._reads = reads

    def get(self, object_id: str) -> O | None:
        self._note("id", object_id)
        return cast("O | None", self._state.objects.get(object_id))

    def __contains__(self, object_id: object) -> bool:
        return isinstance(object_id, str) and self.get(object_id) is not None

    def __len__(self) -> int:
        self._note("all", "")
        return len(self._state.objects)

    def __iter__(self) -> Iterator[O]:
        self._note("any", "")
        objects: Any = self._state.objects
        return iter([objects[object_id] for object_id in sorted(objects)])

    def by_name(self, name: str) -> O | None:
        """The object with that name. Raises ConflictError if several have it."""
        found = self._by("name", name)
        if len(found) > 1:
            raise ConflictError(
                f"{self._schema.field} {name} is ambiguous: {len(found)} have this name; use an id: {_listed(found)}"
            )
        return found[0] if found else None

    def find(self, ref: str) -> O:
        """The object with that id, else that name, else the only one whose id starts with it.

        Raises:
            NotFoundError: none matches.
            ConflictError: several do.
        """
        exact = self.get(ref) or (self.by_name(ref) if ref else None)
        if exact is not None:
            return exact
        self._note("all", "")
        matches = [object_id for object_id in self._state.objects if ref and object_id.startswith(ref)]
        if not matches:
            raise NotFoundError(f"{self._schema.field} {ref} not found")
        if len(matches) > 1:
            raise ConflictError(
                f"{self._schema.field} {ref} is ambiguous: {len(matches)} ids start with it; use more characters"
            )
        return cast("O", self._state.objects[matches[0]])

    def _by(self, index: str, key: Hashable) -> tuple[O, ...]:
        self._note(index, key)
        bucket = self._state.indexes[index].get(key)
        if bucket is None:
            return ()
        objects: Any = self._state.objects
        for object_id in bucket if self._reads is not None else ():
            self._note("id", object_id)  # the caller reads the object, not only its presence in the index
        return tuple([objects[object_id] for object_id in sorted(bucket)])

    def _note(self, index: str, key: Hashable) -> None:
        if self._reads is not None:
            self._reads.add((self._schema.field, index, key))


def _listed(found: Sequence[Object]) -> str:
    """Ids for a message, at most eight."""
    ids = [item.id for item in found[:_LISTED]]
    return ", ".join(ids) + (", …" if len(found) > _LISTED else "")


class NodeTable(Table[Node]):
    __slots__ = ()

    def by_role(self, role: NodeRole) -> tuple[Node, ...]:
        return self._by("role", role)

    def by_address(self, addr: str) -> tuple[Node, ...]:
        """Nodes whose tunnel endpoint is, or was, this address of the underlay."""
        return self._by("address", addr)


class ServiceTable(Table[Service]):
    __slots__ = ()

    def by_network(self, network_id: str) -> tuple[Service, ...]:
        """Services whose tasks join the network, or that have a virtual address in it."""
        return self._by("network", network_id)

    def by_secret(self, secret_id: str) -> tuple[Service, ...]:
        return self._by("secret", secret_id)

    def by_config(self, config_id: str) -> tuple[Service, ...]:
        return self._by("config", config_id)


class TaskTable(Table[Task]):
    __slots__ = ()

    def by_service(self, service_id: str) -> tuple[Task, ...]:
        return self._by("service", service_id)

    def by_node(self, node_id: str) -> tuple[Task, ...]:
        return self._by("node", node_id)

    def by_slot(self, service_id: str, slot: int) -> tuple[Task, ...]:
        return self._by("slot", (service_id, slot))

    def by_network(self, network_id: str) -> tuple[Task, ...]:
        """Tasks whose spec names the network, or that have an address in it."""
        return self._by("network", network_id)

    def by_secret(self, secret_id: str) -> tuple[Task, ...]:
        return self._by("secret", secret_id)

    def by_config(self, config_id: str) -> tuple[Task, ...]:
        return self._by("config", config_id)


class NetworkTable(Table[Network]):
    __slots__ = ()

    def ingress(self) -> Network | None:
        """The ingress network, of which there is one at most."""
        return next(iter(self._by("ingress", "")), None)


class SecretTable(Table[Secret]):
    __slots__ = ()


class ConfigTable(Table[Config]):
    __slots__ = ()
