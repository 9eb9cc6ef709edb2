"""Views and transactions: an immutable snapshot of the store, and a set of changes on top of one.

Invariant: a view never changes and costs nothing to take. A transaction is private to the function that fills it, shows its own changes,
holds at most one change per object, and records what it read.
"""

from __future__ import annotations

from collections.abc import Sequence

from covey.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    StaleVersionError,
    TooLargeError,
    UnavailableError,
)
from covey.objects import Cluster, Object, WatchedStack
from manager.store import schema as schemas
from manager.store.commit import Action, Change
from manager.store.schema import BY_KIND, SCHEMAS, Schema
from manager.store.table import (
    ConfigTable,
    NetworkTable,
    NodeTable,
    SecretTable,
    ServiceTable,
    Table,
    TableState,
    TaskTable,
    Touch,
)

MAX_CHANGES = 126
"""Maximum number of changes in a transaction. etcd allows 128 operations, of which the fence and the head take two. Larger work uses
``Store.batch``."""


class View:
    """All objects at one moment. ``version`` is the log index of the last change."""

    __slots__ = ("_reads", "_tables", "version")

    def __init__(self, tables: Sequence[TableState], version: int = 0) -> None:
        self._tables = tuple(tables)
        self._reads: set[Touch] | None = None
        self.version = version

    @classmethod
    def empty(cls) -> View:
        return cls([TableState.empty(schema) for schema in SCHEMAS])

    @property
    def nodes(self) -> NodeTable:
        return NodeTable(schemas.NODES, self._tables[0], self._reads)

    @property
    def services(self) -> ServiceTable:
        return ServiceTable(schemas.SERVICES, self._tables[1], self._reads)

    @property
    def tasks(self) -> TaskTable:
        return TaskTable(schemas.TASKS, self._tables[2], self._reads)

    @property
    def networks(self) -> NetworkTable:
        return NetworkTable(schemas.NETWORKS, self._tables[3], self._reads)

    @property
    def secrets(self) -> SecretTable:
        return SecretTable(schemas.SECRETS, self._tables[4], self._reads)

    @property
    def configs(self) -> ConfigTable:
        return ConfigTable(schemas.CONFIGS, self._tables[5], self._reads)

    @property
    def clusters(self) -> Table[Cluster]:
        return Table(schemas.CLUSTERS, self._tables[6], self._reads)

    @property
    def watched_stacks(self) -> Table[WatchedStack]:
        return Table(schemas.WATCHED_STACKS, self._tables[7], self._reads)

    @property
    def cluster(self) -> Cluster:
        """The one cluster object.

        Raises:
            UnavailableError: this manager has not received the cluster's state yet.
        """
        for cluster in self.clusters:
            return cluster
        raise UnavailableError("this manager has not received the cluster's state yet; try again shortly")

    def state(self, schema: Schema) -> TableState:
        """The raw table of a kind, for the store's own modules."""
        return self._tables[schema.position]

    def put(self, schema: Schema, object_id: str, after: Object | None) -> View:
        """The view with one object set, or removed; for the store's own modules."""
        tables = list(self._tables)
        tables[schema.position] = tables[schema.position].put(schema, object_id, after)
        return View(tables, self.version)

    def at(self, version: int) -> View:
        return View(self._tables, version)


class Tx(View):
    """A transaction: changes on top of a view, applied together or not at all."""

    __slots__ = ("_changes", "reads")

    def __init__(self, view: View) -> None:
        super().__init__(view._tables, view.version)
        self.reads: set[Touch] = set()
        self._reads = self.reads
        self._changes: dict[tuple[str, str], Change] = {}

    @property
    def changes(self) -> tuple[Change, ...]:
        return tuple(self._changes.values())

    def create(self, item: Object) -> None:
        """Adds an object. The store sets its ``meta``.

        Raises:
            AlreadyExistsError: its id is taken, or its name if names are unique.
        """
        schema = BY_KIND[type(item)]
        key = (schema.field, item.id)
        if self._find(schema, item.id) is not None:
            raise AlreadyExistsError(f"{schema.field} {item.id} already exists")
        if key in self._changes:
            raise ConflictError(f"{schema.field} {item.id} was removed in this transaction; use a new id")
        self._require_free_name(schema, item)
        self._record(schema, item.id, Change(Action.CREATE, None, item))

    def update(self, item: Object) -> None:
        """Replaces an object. This is the optimistic concurrency check: the new object must be made from the stored version.

        Raises:
            NotFoundError: there is no object with that id.
            StaleVersionError: it was made from another version.
            AlreadyExistsError: its new name is taken.
        """
        schema = BY_KIND[type(item)]
        stored = self._find(schema, item.id)
        if stored is None:
            raise NotFoundError(f"{schema.field} {item.id} not found")
        if stored.meta.version != item.meta.version:
            raise StaleVersionError(
                f"{schema.field} {item.id} is at version {stored.meta.version}, "
                f"the change was made from version {item.meta.version}; read it again and repeat the change",
            )
        self._require_free_name(schema, item)
        earlier = self._changes.get((schema.field, item.id))
        if earlier is None:
            self._record(schema, item.id, Change(Action.UPDATE, stored, item))
        else:
            self._record(schema, item.id, Change(earlier.action, earlier.before, item))

    def remove(self, kind: type[Object], object_id: str) -> None:
        """Removes an object. Raises NotFoundError."""
        schema = BY_KIND[kind]
        stored = self._find(schema, object_id)
        if stored is None:
            raise NotFoundError(f"{schema.field} {object_id} not found")
        earlier = self._changes.get((schema.field, object_id))
        if earlier is not None and earlier.action is Action.CREATE:
            del self._changes[(schema.field, object_id)]
            self._set(schema, object_id, None)
            return
        before = earlier.before if earlier else stored
        self._record(schema, object_id, Change(Action.REMOVE, before, None))

    def savepoint(self) -> Savepoint:
        return Savepoint(self._tables, dict(self._changes))

    def roll_back(self, savepoint: Savepoint) -> None:
        """Discards the changes since the savepoint. Recorded reads stay."""
        self._tables = savepoint.tables
        self._changes = savepoint.changes

    def _find(self, schema: Schema, object_id: str) -> Object | None:
        self.reads.add((schema.field, "id", object_id))
        return self._tables[schema.position].objects.get(object_id)

    def _require_free_name(self, schema: Schema, item: Object) -> None:
        name = schema.name(item)
        if not (schema.unique_names and name):
            return
        self.reads.add((schema.field, "name", name))
        holders = self._tables[schema.position].indexes["name"].get(name)
        if holders is not None and any(holder != item.id for holder in holders):
            raise AlreadyExistsError(f"{schema.field} {name} already exists; choose another name")

    def _record(self, schema: Schema, object_id: str, change: Change) -> None:
        key = (schema.field, object_id)
        if key not in self._changes and len(self._changes) >= MAX_CHANGES:
            raise TooLargeError(f"a transaction holds at most {MAX_CHANGES} changes; split it with Store.batch")
        self._changes[key] = change
        self._set(schema, object_id, change.after)

    def _set(self, schema: Schema, object_id: str, after: Object | None) -> None:
        tables = list(self._tables)
        tables[schema.position] = tables[schema.position].put(schema, object_id, after)
        self._tables = tuple(tables)


class Savepoint:
    """State of a transaction, for ``Tx.roll_back``."""

    __slots__ = ("changes", "tables")

    def __init__(self, tables: tuple[TableState, ...], changes: dict[tuple[str, str], Change]) -> None:
        self.tables = tables
        self.changes = changes
