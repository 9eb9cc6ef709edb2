"""Node record: this host's cluster membership, stored in ``STATE/node.json``.

Invariant: the file is replaced atomically and holds no secret. While it exists, the daemon rejoins its cluster after a restart.
Used by ``node.membership_state``; a running session keeps its copy in ``SessionRecord``.
"""

import os
from pathlib import Path

import msgspec

from covey.errors import CoveyError
from covey.states import NodeRole


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Membership of this host. ``managers`` are HOST:PORT of mTLS listeners, as the last session reported them. A ``join_port`` of 0 is
    the daemon's option. An empty ``data_path_addr`` is the advertise address. The leader reports the ``data_path_port``. ``store`` is
    the value of ``--store`` while this node's manager last served; it is empty for a manager that uses Raft.
    """

    node_id: str
    cluster_id: str
    role: NodeRole = NodeRole.WORKER
    advertise_addr: str = ""
    listen_addr: str = "0.0.0.0"
    join_port: int = 0
    data_path_addr: str = ""
    data_path_port: int = 0
    managers: tuple[str, ...] = ()
    store: str = ""


class NodeRecordFile:
    """The record on disk. The file does not exist while the host is in no cluster."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "node.json"

    def load(self) -> NodeRecord | None:
        """Return the record, or None if the host is in no cluster.

        Raises:
            CoveyError: the file cannot be decoded.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=NodeRecord)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise CoveyError(
                f"{self._path} is damaged ({error}): restore it from a copy, or remove it to take this host out of its cluster"
            ) from error

    def save(self, record: NodeRecord) -> None:
        """Replace the record atomically and sync it to disk."""
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(record))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self._path)
        self._sync_directory()

    def remove(self) -> None:
        """Delete the record: the host is in no cluster."""
        self._path.unlink(missing_ok=True)
        self._sync_directory()

    def _sync_directory(self) -> None:
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class SessionRecord:
    """The record of one membership session, in memory. It is written to disk by the first ``update`` and by each one that changes it."""

    def __init__(self, file: NodeRecordFile, record: NodeRecord) -> None:
        self.current = record
        self._file = file
        self._is_saved = False

    def replace(self, record: NodeRecord) -> None:
        """Use another record, without writing it yet."""
        self.current = record

    def update(self, **changes: object) -> None:
        """Change fields of the record and write it if it differs from the file."""
        updated = msgspec.structs.replace(self.current, **changes)
        if updated != self.current or not self._is_saved:
            self.current = updated
            self._file.save(updated)
            self._is_saved = True
