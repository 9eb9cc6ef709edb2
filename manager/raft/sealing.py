"""Sealing of what Raft writes: AES-256-GCM with the manager's data key.

Law: no key and nonce ever seal two things. Each file has a key of its own, derived from the data key and the file's random salt;
the nonce is the number of the piece in its file, and no file is ever continued after it was closed. So a piece opens only in
the file and at the place it was written for.
"""

from __future__ import annotations

import secrets
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
SALT_BYTES = 16


class SealError(Exception):
    """The piece was not sealed with this key, or not for this place."""


class Cipher(Protocol):
    """Seals the pieces of one file. Safe to use from one thread at a time."""

    def seal(self, number: int, plain: bytes) -> bytes: ...

    def open(self, number: int, sealed: bytes) -> bytes:
        """Raises SealError."""
        ...


class Sealer(Protocol):
    def cipher(self, purpose: bytes, salt: bytes) -> Cipher:
        """The cipher of one file; ``purpose`` is its kind and name."""
        ...


class AesSealer:
    """The sealer of a manager's data key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the data key has {len(key)} bytes, it must have {KEY_BYTES}")
        self._key = key

    def cipher(self, purpose: bytes, salt: bytes) -> Cipher:
        derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=b"covey raft " + purpose).derive(self._key)
        return _AesCipher(derived, purpose)


class _AesCipher:
    __slots__ = ("_aead", "_purpose")

    def __init__(self, key: bytes, purpose: bytes) -> None:
        self._aead = AESGCM(key)
        self._purpose = purpose

    def seal(self, number: int, plain: bytes) -> bytes:
        nonce = number.to_bytes(12, "big")
        return self._aead.encrypt(nonce, plain, self._purpose + nonce)

    def open(self, number: int, sealed: bytes) -> bytes:
        nonce = number.to_bytes(12, "big")
        try:
            return self._aead.decrypt(nonce, sealed, self._purpose + nonce)
        except InvalidTag:
            raise SealError from None


def new_salt() -> bytes:
    return secrets.token_bytes(SALT_BYTES)
