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
from covey.durable_file import replace_file
from covey.errors import UnavailableError
from manager.keys.key_ring import KEY_BYTES, KeyRing
from manager.storage_errors import CorruptError

NAME = "keys"
_MAGIC = b"COVEYLK1"
_SALT_BYTES = 16
_CHECK_BYTES = 16
_HEAD_BYTES = len(_MAGIC) + _SALT_BYTES + _CHECK_BYTES
_NONCE = bytes(12)
"""Constant, because each write has a new salt and so its own key."""
_MODE = 0o600


class LockedError(UnavailableError):
    """The key file is locked, and none of the given unlock keys opens it."""


class DataKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The data keys, and the unlock key of their file (empty: the file is plain). ``version`` is the version of the Cluster object that set
    this unlock key: a manager that starts sees older versions again while it replays the log, and must not follow them.
    """

    ring: KeyRing
    unlock_key: str = ""
    version: int = 0

    def __repr__(self) -> str:
        return f"Keys({self.ring!r}, {'locked' if self.unlock_key else 'plain'})"

    @property
    def retired_ids(self) -> tuple[int, ...]:
        """Ids of keys that encrypt nothing new. Files encrypted with them are being encrypted again."""
        return tuple(sorted(number for number in self.ring.keys if number != self.ring.current))


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current: int
    keys: dict[int, bytes]
    version: int = 0


def new_keys(unlock_key: str = "") -> DataKeys:
    """Keys of a new manager."""
    return DataKeys(ring=KeyRing.of(secrets.token_bytes(KEY_BYTES)), unlock_key=unlock_key)


def with_new_data_key(keys: DataKeys, unlock_key: str, version: int) -> DataKeys:
    """The keys with an additional, current data key, under another unlock key."""
    number = max(keys.ring.keys) + 1
    ring = KeyRing({**keys.ring.keys, number: secrets.token_bytes(KEY_BYTES)}, number)
    return DataKeys(ring=ring, unlock_key=unlock_key, version=version)


def without_old_data_keys(keys: DataKeys) -> DataKeys:
    """The keys with the current data key only."""
    current = keys.ring.current
    return msgspec.structs.replace(keys, ring=KeyRing({current: keys.ring.keys[current]}, current))


def is_locked(path: Path) -> bool:
    """Whether the file exists and needs an unlock key."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except FileNotFoundError:
        return False


def read(path: Path, unlock_keys: Sequence[str] = ()) -> DataKeys | None:
    """Reads the keys with the first unlock key that fits. Returns None if there is no file.

    Raises:
        LockedError: none fits; CorruptError: the file is damaged; InvalidArgumentError: a given unlock key is malformed.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if not data.startswith(_MAGIC):
        return _parse(path, data, "")
    for unlock_key in unlock_keys:
        plain = _decrypt(path, data, unlock_key)
        if plain is not None:
            return _parse(path, plain, unlock_key)
    raise LockedError(f"{path} is locked with an unlock key: unlock this manager first")


def write(path: Path, keys: DataKeys) -> None:
    """Durable on return. After an OSError the previous file is unchanged."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    plain = msgspec.json.encode(_Content(keys.ring.current, dict(keys.ring.keys), keys.version))
    replace_file(path, _encrypt(plain, keys.unlock_key) if keys.unlock_key else plain, _MODE)


def _encrypt(plain: bytes, unlock_key: str) -> bytes:
    salt = secrets.token_bytes(_SALT_BYTES)
    key, check = _derive(unlock_key, salt)
    head = _MAGIC + salt + check
    return head + AESGCM(key).encrypt(_NONCE, plain, head)


def _decrypt(path: Path, data: bytes, unlock_key: str) -> bytes | None:
    """The decrypted content, or None if the unlock key does not fit."""
    head = data[:_HEAD_BYTES]
    if len(head) < _HEAD_BYTES:
        raise CorruptError(path, len(head), "it is truncated")
    key, check = _derive(unlock_key, head[len(_MAGIC) : -_CHECK_BYTES])
    if not secrets.compare_digest(check, head[-_CHECK_BYTES:]):
        return None
    try:
        return AESGCM(key).decrypt(_NONCE, data[_HEAD_BYTES:], head)
    except InvalidTag:
        raise CorruptError(path, _HEAD_BYTES, "the unlock key is right, but the content was changed") from None


def _derive(unlock_key: str, salt: bytes) -> tuple[bytes, bytes]:
    """The encryption key, and a check value that identifies the unlock key. Neither reveals it."""
    derived = HKDF(algorithm=SHA256(), length=KEY_BYTES + _CHECK_BYTES, salt=salt, info=b"covey manager keys").derive(
        unlockkey.parse(unlock_key)
    )
    return derived[:KEY_BYTES], derived[KEY_BYTES:]


def _parse(path: Path, plain: bytes, unlock_key: str) -> DataKeys:
    try:
        content = msgspec.json.decode(plain, type=_Content)
        return DataKeys(ring=KeyRing(content.keys, content.current), unlock_key=unlock_key, version=content.version)
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
        raise CorruptError(path, 0, f"it holds no data keys ({error})") from None
