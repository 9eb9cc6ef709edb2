"""The file of a backup: what can be known of it without its key. Pure over an open file.

    magic (8)  format (4)  length of the head (4)  head, JSON    in clear
    length (4) sealed piece, again and again; length 0 (4)       the cluster's state
    SHA-256 of all before it (32)

Law: a file that was cut short or changed anywhere is told from a good one before a key is asked for; that nobody wrote another state under
the same head only the key can tell (``manager.backup``). Called by the managers, which write and open backups, and by the command, which
shows their heads.
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
    """The file is no backup that can be used."""


class BackupHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself. ``version`` and ``term`` are those of the store; ``unlock_key`` says that the cluster's unlock key
    of that time opens it, else a key of its own does.
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
    """The file up to its first piece."""
    text = msgspec.json.encode(head)
    return MAGIC + FORMAT.to_bytes(4, "big") + len(text).to_bytes(4, "big") + text


def frame_chunk(sealed: bytes) -> bytes:
    """A piece as it stands in the file; the empty one is the last."""
    return len(sealed).to_bytes(4, "big") + sealed


def read_header(file: IO[bytes]) -> tuple[BackupHeader, bytes]:
    """The head, and the bytes of the file up to its first piece, where the file stands then.

    Raises:
        BackupError: it is no backup, or one of a newer Covey.
    """
    start = file.read(16)
    if start[:8] != MAGIC:
        raise BackupError("this file is not a backup of Covey: it does not begin as one")
    if len(start) < 16:
        raise BackupError("this backup is cut short: it ends in its head")
    found, length = int.from_bytes(start[8:12], "big"), int.from_bytes(start[12:], "big")
    if found != FORMAT:
        raise BackupError(
            f"this backup has format {found}, and this version of Covey reads format {FORMAT}: use the version that wrote it"
        )
    if length > MAX_HEADER_BYTES:
        raise BackupError("this backup is damaged: its head cannot be that long")
    text = file.read(length)
    if len(text) < length:
        raise BackupError("this backup is cut short: it ends in its head")
    try:
        return msgspec.json.decode(text, type=BackupHeader), start + text
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackupError("this backup is damaged: its head is not understood") from error


def verify_file(file: IO[bytes]) -> BackupHeader:
    """The head of a file that is whole and as it was written; the file stands at its beginning before and after.

    Raises:
        BackupError: it is not.
    """
    head, start = read_header(file)
    for _ in read_chunks(file, hashlib.sha256(start)):
        pass
    file.seek(0)
    return head


def read_chunks(file: IO[bytes], digest: "hashlib._Hash") -> Iterator[bytes]:
    """The sealed pieces; ``digest`` has taken in what stands before them. The last is given before the digest is compared.

    Raises:
        BackupError: the file is cut short or damaged.
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
            raise BackupError("this backup is damaged: a piece of it cannot be that long")
        sealed = _read_exactly(file, size)
        digest.update(sealed)
        yield sealed
    if _read_exactly(file, DIGEST_BYTES) != digest.digest():
        raise BackupError("this backup is damaged: its checksum does not match its content")
    if file.read(1):
        raise BackupError("this backup is damaged: something follows its end")


def _read_exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise BackupError("this backup is cut short: it ends before its last piece")
    return data
