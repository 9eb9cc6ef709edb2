"""Data keys of a manager process at startup: read, unlocked or created before anything else is read from its disk.

Invariant: a founder with autolock writes nothing that its unlock key does not protect. Called by ``manager.main`` before the backend opens.
"""

from pathlib import Path

import msgspec

from covey import unlockkey
from covey.errors import UnavailableError
from manager.bootstrap import raft_directory
from manager.bootstrap.restore import RestoredBackup
from manager.config import ManagerConfig, ManagerMode, with_root_key
from manager.keys import DataKeys, LockedError, data_keys
from manager.keys.core_dumps import keep_out_of_dumps
from manager.keys.rotation import KeyRotator
from manager.keys.startup_secrets import ReadSecrets, announce_unlock_key, receive
from manager.storage_errors import StorageError


def take_root_key(config: ManagerConfig, read_secrets: ReadSecrets = receive) -> ManagerConfig:
    """The configuration with the private key of an operator-provided root, if there is one.

    Raises:
        UnavailableError: the daemon did not send the key.
    """
    if not config.root_key_handed:
        return config
    key = read_secrets().root_key
    if not key:
        raise UnavailableError("the daemon did not send the private key of the root CA: try again")
    return with_root_key(config, key)


def open_keys(
    config: ManagerConfig, restored: RestoredBackup | None = None, read_secrets: ReadSecrets = receive
) -> KeyRotator:
    """The keys of this manager's disk. They are created for a new manager, under an unlock key if its cluster has autolock.

    Raises:
        LockedError: no unlock key came over standard input, or none that fits. StorageError: the key file is damaged or missing.
    """
    path = config.manager_dir / data_keys.NAME
    is_new = not raft_directory.has_state(config.manager_dir / "raft")
    if is_new and config.mode is ManagerMode.BOOTSTRAP:
        keys = _first_manager_keys(config, path, read_secrets)
    elif restored is not None:
        keys = _create_keys(path, restored.cluster.unlock_key)
    else:
        keys = _existing_keys(config, path, read_secrets, is_new=is_new)
    if keys.unlock_key:
        keep_out_of_dumps()
    return KeyRotator(path, config.identity_dir / "node.key", keys, announce_unlock_key)


def _existing_keys(config: ManagerConfig, path: Path, read_secrets: ReadSecrets, *, is_new: bool) -> DataKeys:
    found = data_keys.read(path, read_secrets().unlock_keys if data_keys.is_locked(path) else ())
    if found is None:
        if not is_new:
            raise StorageError(
                f"{path} is missing, and the log is encrypted with the keys in it: restore it from a copy"
            )
        return _create_keys(path, "")
    return _without_version(path, found) if is_new and config.mode is ManagerMode.JOIN else found


def _first_manager_keys(config: ManagerConfig, path: Path, read_secrets: ReadSecrets) -> DataKeys:
    """A founder that crashed continues with the keys that it created. Keys that cannot be unlocked any more are replaced while there is
    no identity: nothing that counts is encrypted with them.
    """
    auto_lock = config.cluster_spec.auto_lock
    if path.exists() and data_keys.is_locked(path) == auto_lock:
        try:
            found = data_keys.read(path, read_secrets().unlock_keys if auto_lock else ())
        except LockedError:
            if (config.identity_dir / "node.crt").exists():
                raise
        else:
            if found is not None:
                return found
    return _create_keys(path, unlockkey.generate() if auto_lock else "")


def _create_keys(path: Path, unlock_key: str) -> DataKeys:
    if unlock_key:
        announce_unlock_key(unlock_key)
    keys = data_keys.new_keys(unlock_key)
    data_keys.write(path, keys)
    return keys


def _without_version(path: Path, found: DataKeys) -> DataKeys:
    """Keys of a former membership for a new one. The cluster object may have a lower version now, if the cluster was restored."""
    keys = msgspec.structs.replace(found, version=0)
    if keys != found:
        data_keys.write(path, keys)
    return keys
