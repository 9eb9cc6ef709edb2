"""File of data keys, STATE/manager/keys: plain, or encrypted under the cluster's unlock key.

Invariant: the file is replaced as a whole and durably. A wrong unlock key and a damaged file are different errors.
The unlock key has 256 random bits, so HKDF with a random salt is enough: a slow key derivation would add nothing. Called by the manager
process, and by its daemon to check an unlock key.

    plain:   JSON {"current": 2, "keys": {"1": …, "2": …}, "version": 77}
    locked:  magic (8) salt (16) check (16) the same JSON, AES-256-GCM with the first 40 bytes as associated data
"""

import secrets
from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from covey import unlockkey
from covey.errors import UnavailableError
from manager.identity import write_file
from manager.keys.key_ring import KEY_BYTES, KeyRing
from manager.storage_errors import CorruptError

NAME = "keys"
_MAGIC = b"COVEYLK1"
_SALT_BYTES = 16
_CHECK_BYTES = 16
_HEAD_BYTES = len(_MAGIC) + _SALT_BYTES + _CHECK_BYTES
_NONCE = bytes(12)
"""Each write has a salt and so a key of its own."""
_MODE = 0o600


class LockedError(UnavailableError):
    """The file is locked, and none of the keys that were given opens it."""


class DataKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The data keys, and the unlock key that their file lies under; empty: it is plain. ``version`` is that of the cluster's object when
    it named this unlock key: a manager that starts sees older states again, and must not follow them.
    """

    ring: KeyRing
    unlock_key: str = ""
    version: int = 0

    def __repr__(self) -> str:
        return f"Keys({self.ring!r}, {'locked' if self.unlock_key else 'plain'})"

    @property
    def retired_ids(self) -> tuple[int, ...]:
        """Ids of keys that seal nothing new; what they sealed is being sealed anew."""
        return tuple(sorted(number for number in self.ring.keys if number != self.ring.current))


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current: int
    keys: dict[int, bytes]
    version: int = 0


def new_keys(unlock_key: str = "") -> DataKeys:
    """The keys of a manager that begins."""
    return DataKeys(ring=KeyRing.of(secrets.token_bytes(KEY_BYTES)), unlock_key=unlock_key)


def with_new_data_key(keys: DataKeys, unlock_key: str, version: int) -> DataKeys:
    """A new data key beside the old ones, all of them under another unlock key."""
    number = max(keys.ring.keys) + 1
    ring = KeyRing({**keys.ring.keys, number: secrets.token_bytes(KEY_BYTES)}, number)
    return DataKeys(ring=ring, unlock_key=unlock_key, version=version)


def without_old_data_keys(keys: DataKeys) -> DataKeys:
    """The current data key alone."""
    current = keys.ring.current
    return msgspec.structs.replace(keys, ring=KeyRing({current: keys.ring.keys[current]}, current))


def is_locked(path: Path) -> bool:
    """Whether the file is there and needs an unlock key."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except FileNotFoundError:
        return False


def read(path: Path, unlock_keys: Sequence[str] = ()) -> DataKeys | None:
    """The keys by the first unlock key that fits; None if there is no file.

    Raises:
        LockedError: none fits; CorruptError: the file is not what was written; InvalidArgumentError: what was given is no key.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if not data.startswith(_MAGIC):
        return _keys(path, data, "")
    for unlock_key in unlock_keys:
        plain = _opened(path, data, unlock_key)
        if plain is not None:
            return _keys(path, plain, unlock_key)
    raise LockedError(f"{path} is locked with an unlock key: unlock this manager first")


def write(path: Path, keys: DataKeys) -> None:
    """Durable when it returns; OSError leaves the file of before."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    plain = msgspec.json.encode(_Content(keys.ring.current, dict(keys.ring.keys), keys.version))
    write_file(path, _locked(plain, keys.unlock_key) if keys.unlock_key else plain, _MODE)


def _locked(plain: bytes, unlock_key: str) -> bytes:
    salt = secrets.token_bytes(_SALT_BYTES)
    key, check = _derived(unlock_key, salt)
    head = _MAGIC + salt + check
    return head + AESGCM(key).encrypt(_NONCE, plain, head)


def _opened(path: Path, data: bytes, unlock_key: str) -> bytes | None:
    """None when the key is another."""
    head = data[:_HEAD_BYTES]
    if len(head) < _HEAD_BYTES:
        raise CorruptError(path, len(head), "it ends too early")
    key, check = _derived(unlock_key, head[len(_MAGIC) : -_CHECK_BYTES])
    if not secrets.compare_digest(check, head[-_CHECK_BYTES:]):
        return None
    try:
        return AESGCM(key).decrypt(_NONCE, data[_HEAD_BYTES:], head)
    except InvalidTag:
        raise CorruptError(path, _HEAD_BYTES, "the unlock key is right, but the keys were changed") from None


def _derived(unlock_key: str, salt: bytes) -> tuple[bytes, bytes]:
    """The sealing key, and what tells whether the unlock key is the one; neither says anything about it."""
    derived = HKDF(algorithm=SHA256(), length=KEY_BYTES + _CHECK_BYTES, salt=salt, info=b"covey manager keys").derive(
        unlockkey.parse(unlock_key)
    )
    return derived[:KEY_BYTES], derived[KEY_BYTES:]


def _keys(path: Path, plain: bytes, unlock_key: str) -> DataKeys:
    try:
        content = msgspec.json.decode(plain, type=_Content)
        return DataKeys(ring=KeyRing(content.keys, content.current), unlock_key=unlock_key, version=content.version)
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
        raise CorruptError(path, 0, f"it holds no data keys ({error})") from None
