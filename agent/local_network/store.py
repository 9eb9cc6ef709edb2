"""Database of the networks of this host (SQLite): one row per network.

Invariant: every change is one transaction (WAL), so a crash of the daemon leaves complete rows.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from agent.database import open_database
from agent.local_network.model import LocalNetwork
from covey.errors import AlreadyExistsError, ConflictError

NETWORK_LIMIT = 1_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS network (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, body BLOB NOT NULL) STRICT;
"""


class LocalNetworkStore:
    """The table. Calls are synchronous and take well under a millisecond."""

    def __init__(self, path: Path) -> None:
        self._db = open_database(path, _SCHEMA)

    def close(self) -> None:
        self._db.close()

    def load(self) -> list[LocalNetwork]:
        rows = self._db.execute("SELECT body FROM network ORDER BY rowid")
        return [msgspec.json.decode(body, type=LocalNetwork) for (body,) in rows]

    def insert(self, network: LocalNetwork) -> None:
        """Add a network. Raises AlreadyExistsError if its name is in use."""
        (count,) = self._db.execute("SELECT count(*) FROM network").fetchone()
        if count >= NETWORK_LIMIT:
            raise ConflictError(f"this host has {NETWORK_LIMIT} networks already: remove some")
        try:
            self._db.execute(
                "INSERT INTO network (id, name, body) VALUES (?, ?, ?)",
                (network.id, network.name, msgspec.json.encode(network)),
            )
        except sqlite3.IntegrityError:
            raise AlreadyExistsError(f"network with name {network.name} already exists") from None

    def replace(self, network: LocalNetwork) -> None:
        """Store other contents of a network that exists."""
        self._db.execute("UPDATE network SET body = ? WHERE id = ?", (msgspec.json.encode(network), network.id))

    def delete(self, network_id: str) -> None:
        self._db.execute("DELETE FROM network WHERE id = ?", (network_id,))
