"""Encryption and decryption of backup files, which hold the whole store. Pure.

Invariant: the state is never written in the clear. Each file has a random key, wrapped under the operator's key. The key of the pieces is
derived from it and from the head, so a changed head decrypts nothing, and the last piece is marked, so a missing piece is noticed.
Called by ``manager.control.backup_stream``, which writes backups, and ``manager.bootstrap.restore``, which reads them.
"""

import hashlib
import io
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from covey import unlockkey
from covey.backup_format import (
    CHUNK_BYTES,
    DIGEST_BYTES,
    KEY_PREFIX,
    MAX_FILE_BYTES,
    BackupError,
    BackupHeader,
    encode_header,
    frame_chunk,
    read_chunks,
    read_header,
    verify_file,
)
from covey.errors import InvalidArgumentError, TooLargeError, UnauthenticatedError
from covey.objects import Cluster
from manager.store import snapshot as store_snapshot
from manager.store.consensus import Member
from manager.store.schema import SCHEMAS
from manager.store.view import View

_KEY_BYTES = 32
_NONCE_BYTES = 12
_AROUND_PIECE_BYTES = 4 + 16  # its length, and the tag that AES-GCM adds
_WRAP_NONCE = bytes(_NONCE_BYTES)  # each wrapping key is used once: its salt is random


def new_key() -> str:
    """A new backup key: 256 random bits as text."""
    return KEY_PREFIX + urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode().rstrip("=")


def seal(
    view: View, members: tuple[Member, ...], cluster: Cluster, key: str, *, term: int, now_ns: int
) -> Iterator[bytes]:
    """Yields the file in parts. ``key`` is the cluster's unlock key, or one of ``new_key``.

    Raises:
        InvalidArgumentError: the key is neither. TooLargeError, before the first part: the file would be too large to restore.
    """
    _key_bytes(key)
    return _parts(view, members, cluster, key, term=term, now_ns=now_ns)


def _parts(
    view: View, members: tuple[Member, ...], cluster: Cluster, key: str, *, term: int, now_ns: int
) -> Iterator[bytes]:
    data = store_snapshot.encode(view, members)
    file_key, salt = secrets.token_bytes(_KEY_BYTES), secrets.token_bytes(16)
    head = BackupHeader(
        cluster_id=cluster.id,
        cluster_name=cluster.spec.annotations.name,
        created_at_ns=now_ns,
        version=view.version,
        term=term,
        objects={f"{schema.field}s": len(view.state(schema).objects) for schema in SCHEMAS},
        size=len(data),
        unlock_key=not key.startswith(KEY_PREFIX),
        salt=salt,
        wrapped_key=AESGCM(_wrapping_key(key, salt)).encrypt(_WRAP_NONCE, file_key, None),
    )
    start = encode_header(head)
    digest = hashlib.sha256(start)
    cipher = AESGCM(_pieces_key(file_key, start))
    last = max(0, len(data) - 1) // CHUNK_BYTES
    _require_readable(len(start) + len(data) + (last + 1) * _AROUND_PIECE_BYTES + 4 + DIGEST_BYTES)
    yield start
    for number in range(last + 1):
        plain = data[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
        part = frame_chunk(cipher.encrypt(_nonce(number), plain, _piece_mark(last=number == last)))
        digest.update(part)
        yield part
    end = frame_chunk(b"")
    digest.update(end)
    yield end + digest.digest()


def _require_readable(size: int) -> None:
    """Raises TooLargeError for a file that cannot be restored."""
    if size > MAX_FILE_BYTES:
        raise TooLargeError(
            f"the backup would have {size} bytes, and the limit for a restore is {MAX_FILE_BYTES}: remove services, configs and secrets "
            "that are not needed, then try again"
        )


def unseal(file: IO[bytes], key: str) -> tuple[BackupHeader, View, tuple[Member, ...]]:
    """Verifies and decrypts a whole file. Returns its head, the store, and the members of the group at that time.

    Raises:
        BackupError: the file is damaged; UnauthenticatedError: the key does not fit; InvalidArgumentError: the key is malformed.
    """
    head = verify_file(file)
    _, start = read_header(file)
    cipher = AESGCM(_pieces_key(_file_key(head, key), start))
    sealed = list(read_chunks(file, hashlib.sha256(start)))
    content = io.BytesIO()
    try:
        for number, piece in enumerate(sealed):
            content.write(cipher.decrypt(_nonce(number), piece, _piece_mark(last=number == len(sealed) - 1)))
    except InvalidTag:
        raise BackupError(
            "this backup was changed after it was written: the key decrypts its head, but not its content"
        ) from None
    data = content.getvalue()
    if len(data) != head.size:
        raise BackupError(f"this backup was changed after it was written: it has {len(data)} of {head.size} bytes")
    try:
        view, members = store_snapshot.decode(head.version, data)
    except ValueError as error:
        raise BackupError(f"this version of Covey cannot read the content of this backup: {error}") from error
    return head, view, members


def _file_key(head: BackupHeader, key: str) -> bytes:
    if key.strip().startswith(KEY_PREFIX) is head.unlock_key:
        kind = (
            "the unlock key of the cluster at that time (SWMKEY-1-…)"
            if head.unlock_key
            else "a key of its own (COVEYBK-1-…)"
        )
        raise InvalidArgumentError(f"this backup needs {kind}, and the given key is of another kind")
    try:
        return AESGCM(_wrapping_key(key, head.salt)).decrypt(_WRAP_NONCE, head.wrapped_key, None)
    except (InvalidTag, ValueError):
        raise UnauthenticatedError(
            "the key does not decrypt this backup: it belongs to another file, or the head of the file was changed"
        ) from None


def _key_bytes(key: str) -> bytes:
    text = key.strip()
    if not text.startswith(KEY_PREFIX):
        return unlockkey.parse(text)
    try:
        secret = urlsafe_b64decode(text.removeprefix(KEY_PREFIX) + "=")
    except ValueError:
        secret = b""
    if len(secret) != _KEY_BYTES:
        raise InvalidArgumentError(f"this is not a backup key: a backup key is {KEY_PREFIX} and 43 characters")
    return secret


def _wrapping_key(key: str, salt: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=salt, info=b"covey backup key").derive(_key_bytes(key))


def _pieces_key(file_key: bytes, start: bytes) -> bytes:
    salt = hashlib.sha256(start).digest()
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=salt, info=b"covey backup pieces").derive(file_key)


def _nonce(number: int) -> bytes:
    return number.to_bytes(_NONCE_BYTES, "big")


def _piece_mark(*, last: bool) -> bytes:
    return b"last" if last else b"more"
