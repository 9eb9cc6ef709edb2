"""The containers that the service holds: found by id, name or prefix, changed together with their rows, and spoken
of in events.

Law: memory follows the disk: the row is written first. Only `ContainerService` and its `Lifecycle` write here.
"""

from __future__ import annotations

import builtins
import time

from agent.container.events import EventBus
from agent.container.model import Container, ContainerConfig, ContainerEvent, ContainerState, ExecState, MountKind
from agent.container.record import ContainerRecord
from agent.container.store import ContainerRow, ContainerStore
from covey.errors import ConflictError, InvalidArgumentError, NotFoundError


class ContainerIndex:
    def __init__(self, store: ContainerStore, events: EventBus) -> None:
        self._store = store
        self._events = events
        self._held: dict[str, ContainerRecord] = {}
        self._names: dict[str, str] = {}

    def load(self) -> builtins.list[ContainerRow]:
        """Take in all rows, as the service opens."""
        rows = self._store.load()
        for row in rows:
            self._held[row.container.id] = ContainerRecord(row.container)
            self._names[row.container.name] = row.container.id
        return rows

    def list(self) -> builtins.list[ContainerRecord]:
        return list(self._held.values())

    def ids(self) -> set[str]:
        return set(self._held)

    def by_id(self, container_id: str) -> ContainerRecord | None:
        return self._held.get(container_id)

    def find(self, ref: str) -> ContainerRecord:
        """By id, name or unique prefix of an id."""
        name = ref.removeprefix("/")
        held = self._held.get(name) or self._held.get(self._names.get(name, ""))
        if held is not None:
            return held
        matches = [h for i, h in self._held.items() if name and i.startswith(name)]
        if len(matches) > 1:
            raise InvalidArgumentError(f"Multiple IDs found with provided prefix: {ref}: give more of it")
        if not matches:
            raise NotFoundError(f"No such container: {ref}")
        return matches[0]

    def running(self, ref: str) -> ContainerRecord:
        held = self.find(ref)
        if not held.state.running:
            raise ConflictError(f"container {held.config.id} is not running")
        return held

    def add(self, config: ContainerConfig) -> ContainerRecord:
        """A new container; AlreadyExistsError when its name is taken."""
        held = ContainerRecord(Container(config, ContainerState()))
        self._store.insert(held.snapshot())
        self._held[config.id] = held
        self._names[config.name] = config.id
        return held

    def remove(self, held: ContainerRecord) -> None:
        self._store.delete(held.config.id)
        self._held.pop(held.config.id, None)
        if self._names.get(held.config.name) == held.config.id:
            del self._names[held.config.name]

    def save_start(self, held: ContainerRecord, state: ContainerState) -> None:
        """Record that a start is under way, and how far: what recovery finds if the daemon dies now."""
        self._store.save_state(held.config.id, state, starting=True, pid_ticks=held.pid_ticks)

    def set_state(self, held: ContainerRecord, state: ContainerState) -> None:
        if held.config.id in self._held:
            self._store.save_state(held.config.id, state, pid_ticks=held.pid_ticks)
        held.state = state

    def set_config(self, held: ContainerRecord, config: ContainerConfig) -> None:
        self._store.save_config(config)
        self._names.pop(held.config.name, None)
        self._names[config.name] = config.id
        held.config = config

    def emit(self, held: ContainerRecord, action: str, **attributes: str) -> None:
        self._events.emit(ContainerEvent(time.time_ns(), action, held.config, attributes))

    def emit_exec(self, state: ExecState, action: str) -> None:
        held = self._held.get(state.container_id)
        if held is not None:
            code = {} if state.exit_code is None else {"exitCode": str(state.exit_code)}
            suffix = f": {' '.join(state.config.args)}" if action == "exec_start" else ""
            self.emit(held, action + suffix, execID=state.id, **code)

    def volume_users(self, name: str) -> builtins.list[str]:
        """Ids of the containers that mount the volume."""
        return [
            held.config.id
            for held in self._held.values()
            if any(m.kind is MountKind.VOLUME and m.source == name for m in held.config.mounts)
        ]

    def close(self) -> None:
        for held in self._held.values():
            held.wake_log_readers()
        self._store.close()
