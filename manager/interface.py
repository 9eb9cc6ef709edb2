"""Interface of the manager for the daemon that runs it: configuration, start-up secrets, exit codes, and its files on disk.

Invariant: ``node`` imports no other module of this package, and an import contract checks that. The manager itself is a process of its
own: ``python -m MANAGER_MODULE --config FILE``. It prints ``READY_LINE`` once it serves, and exits when its standard input closes.
"""

from pathlib import Path

from manager.bootstrap import raft_directory
from manager.bootstrap.manager_probe import managers_at
from manager.config import ManagerConfig, ManagerMode, without_root_key
from manager.etcd.target import FORM as STORE_FORM
from manager.etcd.target import parse as parse_store
from manager.etcd.target import parse_location as parse_store_location
from manager.etcd.target import remove_store_key
from manager.keys.core_dumps import keep_out_of_dumps
from manager.keys.data_keys import NAME as DATA_KEYS_FILE
from manager.keys.data_keys import LockedError, is_locked
from manager.keys.data_keys import read as read_data_keys
from manager.keys.key_ring import KeyRing
from manager.keys.node_key import PLAIN as UNSEALED
from manager.keys.node_key import sealed_with as node_key_sealed_with
from manager.keys.node_key import unseal as unseal_node_key
from manager.keys.startup_secrets import StartupSecrets, parse_unlock_key
from manager.storage_errors import StorageError

__all__ = [
    "DATA_KEYS_FILE",
    "EXIT_FAILED",
    "EXIT_LOCKED",
    "EXIT_REMOVED",
    "MANAGER_MODULE",
    "READY_LINE",
    "STORE_FORM",
    "UNSEALED",
    "KeyRing",
    "LockedError",
    "ManagerConfig",
    "ManagerMode",
    "StartupSecrets",
    "StorageError",
    "has_raft_state",
    "is_locked",
    "keep_out_of_dumps",
    "managers_at",
    "move_raft_state_aside",
    "node_key_sealed_with",
    "parse_store",
    "parse_store_location",
    "parse_unlock_key",
    "read_data_keys",
    "remove_store_key",
    "retired_raft_directory",
    "unseal_node_key",
    "without_root_key",
]

MANAGER_MODULE = "manager.main"
READY_LINE = b"ready"
EXIT_FAILED = 1
EXIT_REMOVED = 3
"""The Raft group has removed this manager."""
EXIT_LOCKED = 4
"""The data keys are locked, and no unlock key that the manager received opens them."""


def has_raft_state(manager_dir: Path) -> bool:
    """Whether STATE/manager holds Raft state that a manager continues with when it starts."""
    return raft_directory.has_state(_raft_directory(manager_dir))


def retired_raft_directory(manager_dir: Path) -> Path:
    """Where the Raft state of a membership that has ended is kept."""
    return raft_directory.lost_path(_raft_directory(manager_dir))


def move_raft_state_aside(manager_dir: Path) -> Path | None:
    """Move the Raft state to ``retired_raft_directory`` and return that path; None if there is none.

    Raises:
        OSError: the state cannot be moved; it stays where it is.
    """
    return raft_directory.put_aside(_raft_directory(manager_dir))


def _raft_directory(manager_dir: Path) -> Path:
    return manager_dir / "raft"
