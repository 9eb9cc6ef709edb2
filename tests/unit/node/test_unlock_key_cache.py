"""What a daemon knows of its manager's keys, and what it can open with them."""

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


def test_a_daemon_that_starts_knows_no_key_and_takes_the_right_one_alone(state: Path) -> None:
    vault = UnlockKeyCache(state)
    assert vault.is_locked(NodeRole.MANAGER)
    with pytest.raises(LockedError):
        vault.unseal(sealed(state))
    with pytest.raises(InvalidArgumentError, match="swarm could not be unlocked: invalid key provided"):
        vault.unlock(OTHER)
    with pytest.raises(InvalidArgumentError, match="invalid key string"):
        vault.unlock("sesame")
    assert vault.is_locked(NodeRole.MANAGER)
    assert vault.startup_secrets.unlock_keys == ()
    vault.unlock(f" {KEY}\n")
    assert not vault.is_locked(NodeRole.MANAGER)
    assert vault.unseal(sealed(state)) == PEM
    assert vault.startup_secrets.unlock_keys == (KEY,)
    assert KEY not in repr(vault.startup_secrets)
    vault.clear()
    assert vault.is_locked(NodeRole.MANAGER)


def test_the_last_two_keys_are_kept_the_latest_first(state: Path) -> None:
    vault = UnlockKeyCache(state)
    for key in ("a", KEY, "b", "b"):
        vault.add(key)
    assert vault.startup_secrets.unlock_keys == ("b", KEY)


def test_rotations_that_a_full_disk_does_not_take_leave_the_key_that_opens_it(state: Path) -> None:
    """1. The disk is full. 2. Rotations are told of, and the file stays as it was. 3. The manager dies, and must start by itself."""
    vault = UnlockKeyCache(state)
    vault.unlock(KEY)
    told = [unlockkey.generate() for _ in range(4)]
    for key in told:
        vault.add(key)
    assert vault.startup_secrets.unlock_keys == (told[3], told[2], KEY)
    assert not vault.is_locked(NodeRole.MANAGER)
    keys = data_keys.read(state / "manager" / "keys", (KEY,))
    assert keys is not None
    data_keys.write(state / "manager" / "keys", data_keys.with_new_data_key(keys, told[3], 9))
    vault.add(OTHER)
    assert vault.startup_secrets.unlock_keys == (OTHER, told[3])


def test_a_rotation_that_the_daemon_only_heard_of_is_read_from_the_file(state: Path) -> None:
    vault = UnlockKeyCache(state)
    vault.unlock(KEY)
    before = vault.unseal(sealed(state))
    path = state / "manager" / "keys"
    keys = data_keys.read(path, (KEY,))
    assert keys is not None
    fresh = data_keys.without_old_data_keys(data_keys.with_new_data_key(keys, OTHER, 3))
    vault.add(OTHER)
    data_keys.write(path, fresh)
    (state / "identity" / "node.key").write_bytes(node_key.seal(fresh.ring, PEM))
    assert vault.unseal(sealed(state)) == before == PEM


def test_a_manager_that_is_not_locked_needs_no_key(state: Path) -> None:
    data_keys.write(state / "manager" / "keys", data_keys.new_keys())
    vault = UnlockKeyCache(state)
    assert not vault.is_locked(NodeRole.MANAGER)
    assert vault.unseal(PEM) == PEM
    with pytest.raises(ConflictError, match="swarm is not locked"):
        vault.unlock(KEY)


def test_a_worker_whose_key_lies_plain_needs_none_of_the_keys_that_a_demotion_left(state: Path) -> None:
    vault = UnlockKeyCache(state)
    assert vault.is_locked(NodeRole.WORKER), "the demotion was cut short before its key lay plain"
    (state / "identity" / "node.key").write_bytes(PEM)
    assert not vault.is_locked(NodeRole.WORKER)
    (state / "identity" / "node.key").unlink()
    assert not vault.is_locked(NodeRole.WORKER)


def test_keys_that_are_gone_or_damaged_are_named(state: Path) -> None:
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
