"""The file of data keys: locked and plain, wrong keys and damage."""

import base64
from pathlib import Path

import pytest

from covey import unlockkey
from covey.errors import InvalidArgumentError
from manager.keys import LockedError, data_keys
from manager.storage_errors import CorruptError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manager" / "keys"


def test_a_plain_file_opens_without_a_key(path: Path) -> None:
    keys = data_keys.new_keys()
    data_keys.write(path, keys)
    assert data_keys.read(path) == keys
    assert not data_keys.is_locked(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_no_file_is_no_keys(path: Path) -> None:
    assert data_keys.read(path) is None
    assert not data_keys.is_locked(path)


def test_a_locked_file_opens_only_with_its_key_at_any_position_in_the_list(path: Path) -> None:
    right, wrong = unlockkey.generate(), unlockkey.generate()
    keys = data_keys.with_new_data_key(data_keys.new_keys(), right, 7)
    data_keys.write(path, keys)
    assert data_keys.is_locked(path)
    assert data_keys.read(path, (wrong, right)) == keys
    for offered in ((), (wrong,)):
        with pytest.raises(LockedError):
            data_keys.read(path, offered)
    with pytest.raises(InvalidArgumentError):
        data_keys.read(path, ("no key",))


def test_a_locked_file_shows_no_key_in_any_form(path: Path) -> None:
    unlock_key = unlockkey.generate()
    keys = data_keys.with_new_data_key(data_keys.new_keys(), unlock_key, 1)
    data_keys.write(path, keys)
    lying = path.read_bytes()
    for secret in (*keys.ring.keys.values(), unlockkey.parse(unlock_key)):
        for form in (secret, secret.hex().encode(), base64.b64encode(secret).rstrip(b"=")):
            assert form not in lying
    data_keys.write(path, keys)
    assert path.read_bytes()[8:24] != lying[8:24], "each write has a salt of its own"


def test_a_wrong_key_and_a_damaged_file_are_different_errors(path: Path) -> None:
    """Each bit of salt and check counts for the key, each later one for the file; none is ever ignored."""
    unlock_key = unlockkey.generate()
    data_keys.write(path, data_keys.new_keys(unlock_key))
    whole = path.read_bytes()
    for number in range(len(whole)):
        changed = bytearray(whole)
        changed[number] ^= 1
        path.write_bytes(changed)
        expected = CorruptError if number < 8 or number >= 40 else LockedError
        with pytest.raises(expected):
            data_keys.read(path, (unlock_key,))
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptError):
            data_keys.read(path, (unlock_key,))


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"current":1,"keys":{}}', b'{"current":1,"keys":{"1":"AA=="}}', b"\x00" * 60]
)
def test_a_plain_file_without_keys_is_named_in_the_error(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CorruptError, match="it holds no data keys"):
        data_keys.read(path)


def test_a_rotation_keeps_the_old_keys_until_they_are_dropped() -> None:
    first = data_keys.new_keys()
    second = data_keys.with_new_data_key(first, "k", 4)
    assert second.ring.keys[1] == first.ring.keys[1]
    assert second.ring.current == 2
    assert second.retired_ids == (1,)
    last = data_keys.without_old_data_keys(second)
    assert last.ring.keys == {2: second.ring.keys[2]}
    assert (last.retired_ids, last.unlock_key, last.version) == ((), "k", 4)
    assert "k" not in repr(last).replace("Keys", "").replace("KeyRing", "").replace("locked", "")
