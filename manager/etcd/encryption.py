"""Encryption of values in etcd: AES-256-GCM under the store key, which every manager of the cluster has and etcd never sees.

Invariant: no key and nonce encrypt two values. Each process derives its own key from the store key and a random salt, and counts its
nonces. A value names its salt and decrypts only at the etcd key for which it was encrypted.

    value:  version (1)  salt (16)  number (8)  ciphertext
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from covey.durable_file import replace_file
from covey.errors import ConflictError
from manager.etcd.target import KEY_FILE

KEY_BYTES = 32
OVERHEAD_BYTES = 41
_VERSION = b"\x01"
_SALT_BYTES = 16
_NUMBER_BYTES = 8
_HEAD_BYTES = 1 + _SALT_BYTES + _NUMBER_BYTES
_MAX_CIPHERS = 256


class ValueCipher:
    """Encrypts and decrypts values. Used on one thread at a time. The cluster id is part of the key derivation."""

    def __init__(self, key: bytes, cluster_id: str) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the store key must have {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._info = b"covey etcd " + cluster_id.encode()
        self._salt = secrets.token_bytes(_SALT_BYTES)
        self._own = self._derive(self._salt)
        self._number = 0
        self._ciphers: OrderedDict[bytes, AESGCM] = OrderedDict()

    def seal(self, key: bytes, plain: bytes) -> bytes:
        self._number += 1
        head = _VERSION + self._salt + self._number.to_bytes(_NUMBER_BYTES, "big")
        return head + self._own.encrypt(_nonce(head), plain, key)

    def open(self, key: bytes, value: bytes) -> bytes:
        """Decrypts the value of an etcd key. Raises ConflictError if it was not encrypted for this cluster and this key."""
        head = value[:_HEAD_BYTES]
        try:
            if head[:1] == _VERSION:
                return self._cipher(head[1 : 1 + _SALT_BYTES]).decrypt(_nonce(head), value[_HEAD_BYTES:], key)
        except (InvalidTag, ValueError):
            pass
        raise ConflictError(
            f"the value of {key.decode(errors='replace')} in etcd cannot be decrypted with this cluster's key: no manager of this cluster "
            "wrote it. Restore the value or delete the key"
        )

    def _cipher(self, salt: bytes) -> AESGCM:
        cipher = self._ciphers.get(salt)
        if cipher is None:
            cipher = self._ciphers[salt] = self._derive(salt)
            if len(self._ciphers) > _MAX_CIPHERS:
                self._ciphers.popitem(last=False)
        else:
            self._ciphers.move_to_end(salt)
        return cipher

    def _derive(self, salt: bytes) -> AESGCM:
        return AESGCM(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=self._info).derive(self._key))


def _nonce(head: bytes) -> bytes:
    return b"\0\0\0\0" + head[-_NUMBER_BYTES:]


def new_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def load_key(folder: Path, unseal: Callable[[bytes], bytes] = bytes) -> bytes | None:
    """The store key beside this node's identity, or None if there is none. ``unseal`` decrypts it under autolock."""
    try:
        return unseal((folder / KEY_FILE).read_bytes())
    except FileNotFoundError:
        return None


def save_key(folder: Path, key: bytes) -> None:
    """Writes the store key, plain or already encrypted under autolock."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(folder / KEY_FILE, key, 0o600)
