"""Unlock keys that the daemon caches, and the files that they open."""

from pathlib import Path

import pytest

from covey import unlockkey
from covey.errors import ConflictError, CoveyError, InvalidArgumentError, UnavailableError
from covey.states import NodeRole
from manager.keys import LockedError, data_keys, node_key
from node.unlock_key_cache import UnlockKeyCache

PEM = b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"
KEY, OTHER = unlockkey.generate(), unlockkey.generate()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A locked manager's."""
    (tmp_path / "identity").mkdir()
    keys = data_keys.new_keys(KEY)
    data_keys.write(tmp_path / "manager" / "keys", keys)
    (tmp_path / "identity" / "node.key").write_bytes(node_key.seal(keys.ring, PEM))
    return tmp_path


def sealed(state: Path) -> bytes:
    return (state / "identity" / "node.key").read_bytes()


def test_a_new_daemon_has_no_key_and_accepts_only_the_right_one(state: Path) -> None:
    cache = UnlockKeyCache(state)
    assert cache.is_locked(NodeRole.MANAGER)
    with pytest.raises(LockedError):
        cache.unseal(sealed(state))
    with pytest.raises(InvalidArgumentError, match="swarm could not be unlocked: invalid key provided"):
        cache.unlock(OTHER)
    with pytest.raises(InvalidArgumentError, match="invalid key string"):
        cache.unlock("sesame")
    assert cache.is_locked(NodeRole.MANAGER)
    assert cache.startup_secrets.unlock_keys == ()
    cache.unlock(f" {KEY}\n")
    assert not cache.is_locked(NodeRole.MANAGER)
    assert cache.unseal(sealed(state)) == PEM
    assert cache.startup_secrets.unlock_keys == (KEY,)
    assert KEY not in repr(cache.startup_secrets)
    cache.clear()
    assert cache.is_locked(NodeRole.MANAGER)


def test_the_last_two_keys_are_cached_latest_first(state: Path) -> None:
    cache = UnlockKeyCache(state)
    for key in ("a", KEY, "b", "b"):
        cache.add(key)
    assert cache.startup_secrets.unlock_keys == ("b", KEY)


def test_rotations_on_a_full_disk_keep_the_key_that_opens_the_file(state: Path) -> None:
    """1. The disk is full. 2. Rotations are told of, and the file stays as it was. 3. The manager dies, and must start by itself."""
    cache = UnlockKeyCache(state)
    cache.unlock(KEY)
    announced = [unlockkey.generate() for _ in range(4)]
    for key in announced:
        cache.add(key)
    assert cache.startup_secrets.unlock_keys == (announced[3], announced[2], KEY)
    assert not cache.is_locked(NodeRole.MANAGER)
    keys = data_keys.read(state / "manager" / "keys", (KEY,))
    assert keys is not None
    data_keys.write(state / "manager" / "keys", data_keys.with_new_data_key(keys, announced[3], 9))
    cache.add(OTHER)
    assert cache.startup_secrets.unlock_keys == (OTHER, announced[3])


def test_a_rotation_announced_before_the_file_changed_is_read_from_the_file(state: Path) -> None:
    cache = UnlockKeyCache(state)
    cache.unlock(KEY)
    before = cache.unseal(sealed(state))
    path = state / "manager" / "keys"
    keys = data_keys.read(path, (KEY,))
    assert keys is not None
    fresh = data_keys.without_old_data_keys(data_keys.with_new_data_key(keys, OTHER, 3))
    cache.add(OTHER)
    data_keys.write(path, fresh)
    (state / "identity" / "node.key").write_bytes(node_key.seal(fresh.ring, PEM))
    assert cache.unseal(sealed(state)) == before == PEM


def test_a_manager_that_is_not_locked_needs_no_key(state: Path) -> None:
    data_keys.write(state / "manager" / "keys", data_keys.new_keys())
    cache = UnlockKeyCache(state)
    assert not cache.is_locked(NodeRole.MANAGER)
    assert cache.unseal(PEM) == PEM
    with pytest.raises(ConflictError, match="swarm is not locked"):
        cache.unlock(KEY)


def test_a_worker_with_an_unsealed_key_needs_no_unlock_key(state: Path) -> None:
    cache = UnlockKeyCache(state)
    assert cache.is_locked(NodeRole.WORKER), "the demotion was cut short before its key lay plain"
    (state / "identity" / "node.key").write_bytes(PEM)
    assert not cache.is_locked(NodeRole.WORKER)
    (state / "identity" / "node.key").unlink()
    assert not cache.is_locked(NodeRole.WORKER)


def test_missing_or_damaged_keys_are_named(state: Path) -> None:
    path = state / "manager" / "keys"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(UnavailableError, match="the unlock key is right, but the content was changed"):
        UnlockKeyCache(state).unlock(KEY)
    path.unlink()
    with pytest.raises(UnavailableError, match="is missing"):
        UnlockKeyCache(state).unseal(sealed(state))
    data_keys.write(path, data_keys.new_keys())
    with pytest.raises(CoveyError, match=r"node\.key is damaged"):
        UnlockKeyCache(state).unseal(sealed(state))
