"""Worker database: the records of this node's tasks, and its networks, endpoints and virtual services, in SQLite.

Invariant: secrets and configs are never written here. A row is written before it is acted on or reported. Each write is one small
transaction and runs on the event loop. Called by ``agent.worker.worker`` and ``agent.worker.task_controller``.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from agent.task.state_machine import TaskRecord
from covey.errors import CoveyError
from covey.objects import Network, Task, TaskStatus
from covey.objects.assignment import AssignmentChange, AssignmentKind, NetworkEndpoint, NodeEndpoint, VirtualService
from covey.states import TaskState

BUSY_SECONDS = 10

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY, task BLOB NOT NULL, status BLOB NOT NULL, container_id TEXT NOT NULL,
    assigned INTEGER NOT NULL, released INTEGER NOT NULL, history BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS network_objects (
    kind INTEGER NOT NULL, id TEXT NOT NULL, item BLOB NOT NULL, PRIMARY KEY (kind, id)
) STRICT;
"""

NetworkObject = Network | NetworkEndpoint | VirtualService | NodeEndpoint

NETWORK_OBJECT_TYPES: dict[AssignmentKind, type[NetworkObject]] = {
    AssignmentKind.NETWORK: Network,
    AssignmentKind.ENDPOINT: NetworkEndpoint,
    AssignmentKind.VIRTUAL_SERVICE: VirtualService,
    AssignmentKind.NODE_ENDPOINT: NodeEndpoint,
}


class WorkerDatabase:
    """The database of one worker."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open_connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Opens or creates the file. Raises CoveyError, which names the file, if it is not a readable database."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(
                "PRAGMA synchronous=NORMAL"
            )  # a killed daemon loses nothing; a host that lost power lost its containers too
            connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise CoveyError(
                f"{self._path} cannot be read ({error}); move it away: the managers will send this node its tasks again"
            ) from error
        self._path.chmod(0o600)
        self._open_connection = connection

    def close(self) -> None:
        """Closes the file; nothing happens if it is not open."""
        if self._open_connection is not None:
            self._open_connection.close()
            self._open_connection = None

    def tasks(self) -> tuple[TaskRecord, ...]:
        """All records, ordered by task id."""
        rows = self._db.execute("SELECT task, status, container_id, assigned, released, history FROM tasks ORDER BY id")
        decode = msgspec.json.decode
        return tuple(
            TaskRecord(
                task=decode(task, type=Task),
                status=decode(status, type=TaskStatus),
                container_id=container_id,
                assigned=bool(assigned),
                released=bool(released),
                history=decode(history, type=tuple[TaskState, ...]),
            )
            for task, status, container_id, assigned, released, history in rows
        )

    def save(self, record: TaskRecord) -> None:
        """Writes one record."""
        self.save_all([record])

    def save_all(self, records: Iterable[TaskRecord]) -> None:
        """Writes records in one transaction."""
        encode = msgspec.json.encode
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO tasks (id, task, status, container_id, assigned, released, history) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        r.task.id,
                        encode(r.task),
                        encode(r.status),
                        r.container_id,
                        r.assigned,
                        r.released,
                        encode(r.history),
                    )
                    for r in records
                ],
            )

    def delete(self, task_id: str) -> None:
        """Deletes the record of a task."""
        self._db.execute("DELETE FROM tasks WHERE id = ?", (task_id,))

    def network_objects(self) -> tuple[AssignmentChange, ...]:
        """The assigned networks, endpoints and virtual services, as changes."""
        return tuple(
            AssignmentChange(
                kind=AssignmentKind(kind),
                id=key,
                item=msgspec.json.decode(item, type=NETWORK_OBJECT_TYPES[AssignmentKind(kind)]),
            )
            for kind, key, item in self._db.execute("SELECT kind, id, item FROM network_objects ORDER BY kind, id")
        )

    def save_network_objects(self, changes: Sequence[AssignmentChange]) -> None:
        """Applies changes of networks, endpoints and virtual services; ignores changes of other objects."""
        with self._transaction():
            for change in changes:
                if change.kind not in NETWORK_OBJECT_TYPES:
                    continue
                if change.item is None:
                    self._db.execute(
                        "DELETE FROM network_objects WHERE kind = ? AND id = ?", (int(change.kind), change.id)
                    )
                else:
                    row = (int(change.kind), change.id, msgspec.json.encode(change.item))
                    self._db.execute("INSERT OR REPLACE INTO network_objects (kind, id, item) VALUES (?, ?, ?)", row)

    @property
    def _db(self) -> sqlite3.Connection:
        if self._open_connection is None:
            raise CoveyError(f"{self._path} is closed")
        return self._open_connection

    def _transaction(self) -> sqlite3.Connection:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db  # as a context manager it commits, or rolls back on an error
