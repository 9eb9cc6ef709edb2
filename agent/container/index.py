"""In-memory index of all containers by id, name and id prefix, written through to the database.

Invariant: the row is written before memory changes. Only the parts of `agent.container` write here; they also emit
events through it, because an event carries the container's configuration.
"""

from __future__ import annotations

import builtins
import time

from agent.container.model import (
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    ExecState,
    MountKind,
    RunStatus,
)
from agent.container.record import ContainerRecord
from agent.container.store import ContainerRow, ContainerStore
from agent.event_bus import EventBus
from covey.errors import AlreadyExistsError, ConflictError, InvalidArgumentError, NotFoundError


class ContainerIndex:
    """The records of one host."""

    def __init__(self, store: ContainerStore, events: EventBus[ContainerEvent]) -> None:
        self._store = store
        self._events = events
        self._records: dict[str, ContainerRecord] = {}
        self._ids_by_name: dict[str, str] = {}

    def load(self) -> builtins.list[ContainerRow]:
        """Read all rows from the database; called once, when the service opens."""
        rows = self._store.load()
        for row in rows:
            self._records[row.container.id] = ContainerRecord(row.container)
            self._ids_by_name[row.container.name] = row.container.id
        return rows

    def list(self) -> builtins.list[ContainerRecord]:
        return list(self._records.values())

    def ids(self) -> set[str]:
        return set(self._records)

    def by_id(self, container_id: str) -> ContainerRecord | None:
        return self._records.get(container_id)

    def find(self, ref: str) -> ContainerRecord:
        """The container with this id, name or unique id prefix. Raises NotFoundError or InvalidArgumentError."""
        name = ref.removeprefix("/")
        record = self._records.get(name) or self._records.get(self._ids_by_name.get(name, ""))
        if record is not None:
            return record
        matches = [r for container_id, r in self._records.items() if name and container_id.startswith(name)]
        if len(matches) > 1:
            raise InvalidArgumentError(f"Multiple IDs found with provided prefix: {ref}: use a longer prefix")
        if not matches:
            raise NotFoundError(f"No such container: {ref}")
        return matches[0]

    def find_running(self, ref: str) -> ContainerRecord:
        """As `find`; raises ConflictError if the container does not run."""
        record = self.find(ref)
        if record.state.status is RunStatus.RESTARTING:
            raise ConflictError(f"Container {record.config.id} is restarting, wait until the container is running")
        if not record.state.running:
            raise ConflictError(f"container {record.config.id} is not running")
        return record

    def add(self, config: ContainerConfig) -> ContainerRecord:
        """Add a new container. Raises AlreadyExistsError if its name is in use."""
        self.check_name(config)
        record = ContainerRecord(Container(config, ContainerState()))
        self._store.insert(record.snapshot())
        self._records[config.id] = record
        self._ids_by_name[config.name] = config.id
        return record

    def check_name(self, config: ContainerConfig) -> None:
        """Raises AlreadyExistsError in Docker's words if another container has the name."""
        owner = self._ids_by_name.get(config.name, config.id)
        if owner != config.id:
            raise AlreadyExistsError(
                f'Conflict. The container name "/{config.name}" is already in use by container "{owner}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )

    def remove(self, record: ContainerRecord) -> None:
        self._store.delete(record.config.id)
        self._records.pop(record.config.id, None)
        if self._ids_by_name.get(record.config.name) == record.config.id:
            del self._ids_by_name[record.config.name]

    def save_start(self, record: ContainerRecord, state: ContainerState) -> None:
        """Mark the row as starting, with the state so far. Recovery finds it if the daemon dies now."""
        self._store.save_state(record.config.id, state, starting=True, pid_ticks=record.pid_ticks)

    def set_state(self, record: ContainerRecord, state: ContainerState) -> None:
        if record.config.id in self._records:
            self._store.save_state(record.config.id, state, pid_ticks=record.pid_ticks)
        record.state = state

    def set_config(self, record: ContainerRecord, config: ContainerConfig) -> None:
        """Replace the configuration. Raises AlreadyExistsError if its name is in use."""
        self.check_name(config)
        self._store.save_config(config)
        self._ids_by_name.pop(record.config.name, None)
        self._ids_by_name[config.name] = config.id
        record.config = config

    def emit(self, record: ContainerRecord, action: str, **attributes: str) -> None:
        self._events.emit(ContainerEvent(time.time_ns(), action, record.config, attributes))

    def emit_exec(self, state: ExecState, action: str) -> None:
        """Emit an event of an exec, unless its container is gone."""
        record = self._records.get(state.container_id)
        if record is not None:
            exit_code = {} if state.exit_code is None else {"exitCode": str(state.exit_code)}
            command = f": {' '.join(state.config.args)}" if action == "exec_start" else ""
            self.emit(record, action + command, execID=state.id, **exit_code)

    def volume_users(self, name: str) -> builtins.list[str]:
        """Ids of the containers that mount the volume."""
        return [
            record.config.id
            for record in self._records.values()
            if any(m.kind is MountKind.VOLUME and m.source == name for m in record.config.mounts)
        ]

    def close(self) -> None:
        for record in self._records.values():
            record.wake_log_readers()
        self._store.close()
