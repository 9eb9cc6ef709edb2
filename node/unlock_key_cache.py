"""Unlock keys of this host's manager, cached in the daemon's memory, and the node key that they decrypt.

Invariant: an unlock key is never written to disk and never logged. The cache holds the last two keys, because a manager announces a new
key before its key file needs it, plus the key that the file currently needs if a full disk delays rotation. So the next manager can
always open the file. Owned by ``node.membership_state``.
"""

import threading
from pathlib import Path

from covey import unlockkey
from covey.errors import ConflictError, CoveyError, InvalidArgumentError, UnavailableError
from covey.states import NodeRole
from manager.interface import (
    DATA_KEYS_FILE,
    UNSEALED,
    KeyRing,
    LockedError,
    StartupSecrets,
    StorageError,
    is_locked,
    keep_out_of_dumps,
    node_key_sealed_with,
    read_data_keys,
    unseal_node_key,
)

_LATEST_KEYS = 2
_MAX_KEYS_IF_UNREADABLE = 6
WRONG_KEY = "swarm could not be unlocked: invalid key provided"


class UnlockKeyCache:
    """One per daemon. Thread-safe, because identities are saved in a worker thread."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "manager" / DATA_KEYS_FILE
        self._node_key_path = state_dir / "identity" / "node.key"
        self.backup_key = ""
        self._keys: tuple[str, ...] = ()
        self._ring: KeyRing | None = None
        self._lock = threading.Lock()

    @property
    def startup_secrets(self) -> StartupSecrets:
        """The secrets that a manager process receives when it starts."""
        return StartupSecrets(unlock_keys=self._keys, backup_key=self.backup_key)

    def add(self, unlock_key: str) -> None:
        """Add a key that the manager has announced: its key file may need it from now on."""
        keep_out_of_dumps()
        with self._lock:
            others = tuple(key for key in self._keys if key != unlock_key)
            latest, older = (unlock_key, *others)[:_LATEST_KEYS], others[_LATEST_KEYS - 1 :]
            self._keys = (*latest, *self._still_needed(older))

    def clear(self) -> None:
        """Remove all keys from memory."""
        with self._lock:
            self._keys, self._ring, self.backup_key = (), None, ""

    def is_locked(self, role: NodeRole) -> bool:
        """Whether a node of this role needs a key that is not cached."""
        if not is_locked(self._path) or (role is NodeRole.WORKER and not self._node_key_is_sealed()):
            return False
        try:
            self._read(self._keys)
        except LockedError:
            return True
        return False

    def unlock(self, text: str) -> None:
        """Add the key that a user typed, if it opens this manager's key file.

        Raises:
            InvalidArgumentError: the key is malformed or wrong; ConflictError: nothing is locked. Nothing changes then.
        """
        key = text.strip()
        unlockkey.parse(key)
        if not is_locked(self._path):
            raise ConflictError("swarm is not locked")
        try:
            self._read((key,))
        except LockedError:
            raise InvalidArgumentError(WRONG_KEY) from None
        self.add(key)

    def unseal(self, data: bytes) -> bytes:
        """The node's key as PEM. ``data`` may be sealed or not.

        Raises:
            LockedError: no cached key opens it; CoveyError: it is damaged.
        """
        key_id = node_key_sealed_with(data)
        if key_id == UNSEALED:
            return data
        with self._lock:
            keys, ring = self._keys, self._ring
        if ring is None or key_id not in ring.keys:
            ring = self._read(keys)
        try:
            return unseal_node_key(ring, self._node_key_path, data)
        except StorageError as error:
            raise CoveyError(str(error)) from error

    def _read(self, unlock_keys: tuple[str, ...]) -> KeyRing:
        try:
            keys = read_data_keys(self._path, unlock_keys)
        except StorageError as error:
            raise UnavailableError(str(error)) from error
        if keys is None:
            raise UnavailableError(
                f"{self._path} is missing, and this node's key is sealed with a data key in it: restore the file, or use "
                '"swarm leave --force" here and join again'
            )
        with self._lock:
            self._ring = keys.ring
        return keys.ring

    def _still_needed(self, keys: tuple[str, ...]) -> tuple[str, ...]:
        """The key of these that opens the key file now. If the file cannot be read, the latest of them."""
        for key in keys:
            try:
                read_data_keys(self._path, (key,))
            except LockedError:
                continue
            except InvalidArgumentError:  # a malformed key opens nothing
                continue
            except (StorageError, OSError):
                return keys[:_MAX_KEYS_IF_UNREADABLE]
            return (key,) if is_locked(self._path) else ()
        return ()

    def _node_key_is_sealed(self) -> bool:
        try:
            return node_key_sealed_with(self._node_key_path.read_bytes()) != UNSEALED
        except FileNotFoundError:
            return False
