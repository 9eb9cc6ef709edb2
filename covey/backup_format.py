"""The file format of backups: header, encrypted chunks, checksum. Everything here works without the key.

    magic (8)  format (4)  header length (4)  header (JSON)     in clear text
    length (4), encrypted chunk; repeated; length 0 (4)         the cluster's state
    SHA-256 of everything before it (32)

Invariant: a truncated or corrupted file is detected without the key. Only the key can detect a deliberate replacement of the state
(``manager.backup``).

Called by the managers, which write and read backups, and by the command line, which shows headers.
"""

import hashlib
from collections.abc import Iterator
from typing import IO

import msgspec

from covey.errors import InvalidArgumentError

MAGIC = b"CoveyBKP"
FORMAT = 1
KEY_PREFIX = "COVEYBK-1-"
MAX_HEADER_BYTES = 64 << 10
CHUNK_BYTES = 1 << 20
MAX_SEALED_BYTES = CHUNK_BYTES + 64
MAX_FILE_BYTES = 1 << 30
DIGEST_BYTES = 32
_READ_BYTES = 1 << 20


class BackupError(InvalidArgumentError):
    """The file is not a usable backup."""


class BackupHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The header of a backup. ``version`` and ``term`` are those of the store. ``unlock_key`` means that the cluster's unlock key of that
    time decrypts the file; otherwise the file has a key of its own.
    """

    cluster_id: str
    cluster_name: str
    created_at_ns: int
    version: int
    term: int
    objects: dict[str, int]
    size: int
    unlock_key: bool
    salt: bytes
    wrapped_key: bytes


def encode_header(head: BackupHeader) -> bytes:
    """The bytes of the file before its first chunk."""
    text = msgspec.json.encode(head)
    return MAGIC + FORMAT.to_bytes(4, "big") + len(text).to_bytes(4, "big") + text


def frame_chunk(chunk: bytes) -> bytes:
    """A chunk with its length. An empty chunk ends the list."""
    return len(chunk).to_bytes(4, "big") + chunk


def read_header(file: IO[bytes]) -> tuple[BackupHeader, bytes]:
    """The header and its bytes. The file is then positioned at the first chunk.

    Raises:
        BackupError: the file is not a backup, or has a format of another version of Covey.
    """
    start = file.read(16)
    if start[:8] != MAGIC:
        raise BackupError("this file is not a Covey backup: its first bytes do not match")
    if len(start) < 16:
        raise BackupError("this backup is truncated: it ends in its header")
    format_version, length = int.from_bytes(start[8:12], "big"), int.from_bytes(start[12:], "big")
    if format_version != FORMAT:
        raise BackupError(
            f"this backup has format {format_version}, but this version of Covey reads format {FORMAT}: use the version that wrote it"
        )
    if length > MAX_HEADER_BYTES:
        raise BackupError("this backup is damaged: its header is too long")
    text = file.read(length)
    if len(text) < length:
        raise BackupError("this backup is truncated: it ends in its header")
    try:
        return msgspec.json.decode(text, type=BackupHeader), start + text
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackupError("this backup is damaged: its header cannot be read") from error


def verify_file(file: IO[bytes]) -> BackupHeader:
    """The header of a file that is complete and not corrupted. The file is positioned at its start before and after.

    Raises:
        BackupError: the file is truncated or damaged.
    """
    head, start = read_header(file)
    for _ in read_chunks(file, hashlib.sha256(start)):
        pass
    file.seek(0)
    return head


def read_chunks(file: IO[bytes], digest: "hashlib._Hash") -> Iterator[bytes]:
    """The encrypted chunks; ``digest`` already covers the header. The last chunk is yielded before the digest is compared.

    Raises:
        BackupError: the file is truncated or damaged.
    """
    total = 0
    while True:
        length = _read_exactly(file, 4)
        size = int.from_bytes(length, "big")
        digest.update(length)
        if not size:
            break
        total += size
        if size > MAX_SEALED_BYTES or total > MAX_FILE_BYTES:
            raise BackupError("this backup is damaged: a chunk is too long")
        chunk = _read_exactly(file, size)
        digest.update(chunk)
        yield chunk
    if _read_exactly(file, DIGEST_BYTES) != digest.digest():
        raise BackupError("this backup is damaged: its checksum does not match its content")
    if file.read(1):
        raise BackupError("this backup is damaged: there are bytes after its end")


def _read_exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise BackupError("this backup is truncated: it ends before its last chunk")
    return data
