"""Node record: this host's cluster membership, stored in ``STATE/node.json``. Holds no secret."""

import os
from pathlib import Path

import msgspec

from covey.errors import CoveyError
from covey.states import NodeRole


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """This host's place in its cluster. ``managers`` are HOST:PORT of mTLS listeners, as the last session told them; ``store`` is what
    ``--store`` said while this node's manager served last, empty for a manager that keeps the cluster's state itself.
    """

    node_id: str
    cluster_id: str
    role: NodeRole = NodeRole.WORKER
    advertise_addr: str = ""
    listen_addr: str = "0.0.0.0"
    managers: tuple[str, ...] = ()
    store: str = ""


class NodeRecordFile:
    """The record on disk; absent when the host is in no cluster."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "node.json"

    def load(self) -> NodeRecord | None:
        """The record, None if there is none. CoveyError when it cannot be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=NodeRecord)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise CoveyError(
                f"{self._path} is not what a daemon wrote ({error}): put a copy back, or remove it to take this host out of its cluster"
            ) from error

    def save(self, record: NodeRecord) -> None:
        """Replace the record; after a crash either the old or the new one is there."""
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(record))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self._path)
        self._sync_folder()

    def remove(self) -> None:
        """Forget the cluster."""
        self._path.unlink(missing_ok=True)
        self._sync_folder()

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
