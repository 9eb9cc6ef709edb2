"""Encryption of the node's private key, STATE/identity/node.key: plain PEM without autolock, else encrypted with a data key.

Invariant: while a manager process runs, only it writes the file. The daemon writes it before it starts a manager (join) and after the
manager has ended (demotion), always plain. A worker has no unlock key, so its key is plain. Pure, except for the random salt.
"""

from pathlib import Path

from manager.keys.key_ring import MAGIC_BYTES, DecryptionError, KeyRing, key_id_of
from manager.storage_errors import CorruptError

_MAGIC = b"COVEYNK1"
_PURPOSE = b"node key"
_HEAD_BYTES = 28
PLAIN = 0
"""Marks a plain file. Ids of data keys start at 1."""


def sealed_with(data: bytes) -> int:
    """The id of the data key that encrypts it, or PLAIN."""
    return key_id_of(data[:_HEAD_BYTES]) if data[:MAGIC_BYTES] == _MAGIC else PLAIN


def seal(ring: KeyRing, pem: bytes) -> bytes:
    head, cipher = ring.new_file_cipher(_MAGIC, _PURPOSE)
    return head + cipher.seal(0, pem)


def unseal(ring: KeyRing, path: Path, data: bytes) -> bytes:
    """The PEM of a plain or encrypted file.

    Raises:
        StorageError: its data key is not in the ring, or the file was changed.
    """
    if sealed_with(data) == PLAIN:
        return data
    cipher = ring.existing_file_cipher(path, _MAGIC, _PURPOSE, data)
    try:
        return cipher.open(0, data[_HEAD_BYTES:])
    except DecryptionError:
        raise CorruptError(path, _HEAD_BYTES, "the node key was changed") from None
