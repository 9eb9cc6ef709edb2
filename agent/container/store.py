"""Container database (SQLite): one row per container with its configuration and state.

Invariant: every change is one transaction (WAL), so a crash of the daemon leaves complete rows. `starting` marks a start
that has begun and is not confirmed; recovery asks the kernel how it ended. Only `agent.container.index` writes here.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

import msgspec

from agent.container.model import Container, ContainerConfig, ContainerState
from agent.database import open_database
from covey.errors import AlreadyExistsError, ConflictError

CONTAINER_LIMIT = 10_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS container (
  id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, config BLOB NOT NULL, state BLOB NOT NULL,
  starting INTEGER NOT NULL DEFAULT 0, pid_ticks INTEGER NOT NULL DEFAULT 0) STRICT;
"""


class ContainerRow(NamedTuple):
    """A row; `pid_ticks` is the start time of the container's process."""

    container: Container
    starting: bool
    pid_ticks: int


class ContainerStore:
    """The table. Calls are synchronous and take well under a millisecond."""

    def __init__(self, path: Path) -> None:
        self._db = open_database(path, _SCHEMA)

    def close(self) -> None:
        self._db.close()

    def load(self) -> list[ContainerRow]:
        rows = self._db.execute("SELECT config, state, starting, pid_ticks FROM container ORDER BY rowid")
        return [
            ContainerRow(
                Container(
                    msgspec.json.decode(config, type=ContainerConfig), msgspec.json.decode(state, type=ContainerState)
                ),
                bool(starting),
                ticks,
            )
            for config, state, starting, ticks in rows
        ]

    def insert(self, container: Container) -> None:
        """Add a row. Raises AlreadyExistsError if the id or name is in use."""
        (count,) = self._db.execute("SELECT count(*) FROM container").fetchone()
        if count >= CONTAINER_LIMIT:
            raise ConflictError(f"this host has {CONTAINER_LIMIT} containers already: remove some")
        try:
            self._db.execute(
                "INSERT INTO container (id, name, config, state) VALUES (?, ?, ?, ?)",
                (
                    container.id,
                    container.name,
                    msgspec.json.encode(container.config),
                    msgspec.json.encode(container.state),
                ),
            )
        except sqlite3.IntegrityError:
            raise AlreadyExistsError(
                f'Conflict. The container name "/{container.name}" is already in use: remove or rename that container'
            ) from None

    def save_config(self, config: ContainerConfig) -> None:
        try:
            self._db.execute(
                "UPDATE container SET name = ?, config = ? WHERE id = ?",
                (config.name, msgspec.json.encode(config), config.id),
            )
        except sqlite3.IntegrityError:
            raise AlreadyExistsError(
                f'Conflict. The container name "/{config.name}" is already in use: remove or rename that container'
            ) from None

    def save_state(
        self, container_id: str, state: ContainerState, *, starting: bool = False, pid_ticks: int = 0
    ) -> None:
        self._db.execute(
            "UPDATE container SET state = ?, starting = ?, pid_ticks = ? WHERE id = ?",
            (msgspec.json.encode(state), starting, pid_ticks, container_id),
        )

    def delete(self, container_id: str) -> None:
        self._db.execute("DELETE FROM container WHERE id = ?", (container_id,))
