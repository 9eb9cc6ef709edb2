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
from manager.keys import file, node_key
from manager.keys.core_dumps import keep_out_of_dumps
from manager.keys.file import LockedError
from manager.keys.key_ring import KeyRing
from manager.keys.startup_secrets import StartupSecrets
from manager.storage_errors import StorageError

_KEPT = 2
_UNSURE = 6
WRONG_KEY = "swarm could not be unlocked: invalid key provided"


class UnlockKeyCache:
    """One per daemon. Safe to use from threads: identities are saved in one."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "manager" / file.NAME
        self._node_key_path = state_dir / "identity" / "node.key"
        self.backup_key = ""
        self._keys: tuple[str, ...] = ()
        self._ring: KeyRing | None = None
        self._lock = threading.Lock()

    @property
    def startup_secrets(self) -> StartupSecrets:
        """What a manager process is started with."""
        return StartupSecrets(unlock_keys=self._keys, backup_key=self.backup_key)

    def add(self, unlock_key: str) -> None:
        """The manager says that its files may lie under this key now."""
        keep_out_of_dumps()
        with self._lock:
            others = tuple(key for key in self._keys if key != unlock_key)
            kept, older = (unlock_key, *others)[:_KEPT], others[_KEPT - 1 :]
            self._keys = (*kept, *self._needed(older))

    def clear(self) -> None:
        with self._lock:
            self._keys, self._ring, self.backup_key = (), None, ""

    def is_locked(self, role: NodeRole) -> bool:
        """Whether a node of this role needs a key that the daemon does not know."""
        if not file.is_locked(self._path) or (role is NodeRole.WORKER and not self._node_key_is_sealed()):
            return False
        try:
            self._read(self._keys)
        except LockedError:
            return True
        return False

    def unlock(self, text: str) -> None:
        """Take the key that a person typed, if it opens this manager's files.

        Raises:
            InvalidArgumentError: it is no key, or another; ConflictError: nothing is locked. Nothing is changed then.
        """
        key = text.strip()
        unlockkey.parse(key)
        if not file.is_locked(self._path):
            raise ConflictError("swarm is not locked")
        try:
            self._read((key,))
        except LockedError:
            raise InvalidArgumentError(WRONG_KEY) from None
        self.add(key)

    def unseal(self, data: bytes) -> bytes:
        """The node's key as PEM, whether it lies sealed or not.

        Raises:
            LockedError: no key is known that opens it; CoveyError: it is damaged.
        """
        number = node_key.sealed_with(data)
        if number == node_key.PLAIN:
            return data
        with self._lock:
            keys, ring = self._keys, self._ring
        if ring is None or number not in ring.keys:
            ring = self._read(keys)
        try:
            return node_key.unseal(ring, self._node_key_path, data)
        except StorageError as error:
            raise CoveyError(str(error)) from error

    def _read(self, unlock_keys: tuple[str, ...]) -> KeyRing:
        try:
            keys = file.read(self._path, unlock_keys)
        except StorageError as error:
            raise UnavailableError(str(error)) from error
        if keys is None:
            raise UnavailableError(
                f"{self._path} is missing, and this node's key is sealed with what was in it: put it back, or use "
                '"docker swarm leave --force" here and join again'
            )
        with self._lock:
            self._ring = keys.ring
        return keys.ring

    def _needed(self, keys: tuple[str, ...]) -> tuple[str, ...]:
        """The one of them that the file lies under now; all of them if the file cannot be read."""
        for key in keys:
            try:
                file.read(self._path, (key,))
            except LockedError:
                continue
            except InvalidArgumentError:  # no key opens anything that is not one
                continue
            except (StorageError, OSError):
                return keys[:_UNSURE]
            return (key,) if file.is_locked(self._path) else ()
        return ()

    def _node_key_is_sealed(self) -> bool:
        try:
            return node_key.sealed_with(self._node_key_path.read_bytes()) != node_key.PLAIN
        except FileNotFoundError:
            return False
