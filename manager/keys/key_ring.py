"""Key ring and file encryption of a manager's disk: AES-256-GCM with data keys.

Invariant: no key and nonce encrypt two pieces. Each file has its own key, derived from a data key and the file's random salt. The nonce is
the number of the piece in its file, and a closed file is never continued. The head of the file names its data key and is associated data of
every piece: a piece decrypts only under its own head, in its own file and place.

    head:  magic (8) id of the data key (4) salt (16)
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from manager.storage_errors import CorruptError, MissingKeyError

KEY_BYTES = 32
MAGIC_BYTES = 8
HEAD_BYTES = 28
_SALT_BYTES = 16
_MAX_KEY_ID = (1 << 32) - 1


class DecryptionError(Exception):
    """The piece was not encrypted with this key, or not for this place."""


class FileCipher:
    """Encrypts and decrypts the pieces of one file. Used on one thread at a time."""

    __slots__ = ("_aead", "_bound", "key_id")

    def __init__(self, key: bytes, head: bytes, purpose: bytes) -> None:
        self.key_id = key_id_of(head)
        salt = head[-_SALT_BYTES:]
        derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=b"covey raft " + purpose).derive(key)
        self._aead = AESGCM(derived)
        self._bound = purpose + head

    def seal(self, number: int, plain: bytes | memoryview) -> bytes:
        nonce = number.to_bytes(12, "big")
        return self._aead.encrypt(nonce, plain, self._bound + nonce)

    def open(self, number: int, sealed: bytes) -> bytes:
        """Decrypts a piece. Raises DecryptionError."""
        nonce = number.to_bytes(12, "big")
        try:
            return self._aead.decrypt(nonce, sealed, self._bound + nonce)
        except InvalidTag:
            raise DecryptionError from None


class KeyRing(msgspec.Struct, frozen=True):
    """The data keys of one manager by id. All of them decrypt, ``current`` encrypts.

    Raises:
        ValueError: a key or id is invalid, or the current key is missing.
    """

    keys: Mapping[int, bytes]
    current: int

    def __post_init__(self) -> None:
        for key_id, key in self.keys.items():
            if not 0 < key_id <= _MAX_KEY_ID:
                raise ValueError(f"{key_id} is not a valid id of a data key: ids start at 1")
            if len(key) != KEY_BYTES:
                raise ValueError(f"data key {key_id} must have {KEY_BYTES} bytes, not {len(key)}")
        if self.current not in self.keys:
            raise ValueError(f"the current data key {self.current} is missing")

    @classmethod
    def of(cls, key: bytes) -> KeyRing:
        """A ring with one key."""
        return cls({1: key}, 1)

    def __repr__(self) -> str:
        return f"KeyRing({sorted(self.keys)}, current={self.current})"

    def new_file_cipher(self, magic: bytes, purpose: bytes) -> tuple[bytes, FileCipher]:
        """The head and the cipher of a new file. ``purpose`` is the file's kind and name."""
        head = magic + self.current.to_bytes(4, "big") + secrets.token_bytes(_SALT_BYTES)
        return head, FileCipher(self.keys[self.current], head, purpose)

    def existing_file_cipher(self, path: Path, magic: bytes, purpose: bytes, data: bytes) -> FileCipher:
        """The cipher of a file whose first bytes are ``data``.

        Raises:
            CorruptError: the head is invalid; MissingKeyError: its data key is not in the ring.
        """
        head = data[:HEAD_BYTES]
        if len(head) < HEAD_BYTES or head[:MAGIC_BYTES] != magic:
            raise CorruptError(path, 0, f"it does not begin with {magic.decode()}")
        key = self.keys.get(key_id_of(head))
        if key is None:
            raise MissingKeyError(path, key_id_of(head), sorted(self.keys))
        return FileCipher(key, head, purpose)


def key_id_of(head: bytes) -> int:
    """The id of the data key in a file's head."""
    return int.from_bytes(head[MAGIC_BYTES : MAGIC_BYTES + 4], "big")
