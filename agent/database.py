"""Opening of the agent's SQLite databases that hold one table each, with the settings that they share.

Invariant: every change is one transaction (WAL), so a crash of the daemon leaves complete rows. Only the daemon's user reads the files.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

_WAL_BYTES = 4 << 20


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open or create the file and what is missing of its schema. Statements outside a transaction commit at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
        connection.executescript(schema)
        path.chmod(0o600)
    except BaseException:
        connection.close()
        raise
    return connection
