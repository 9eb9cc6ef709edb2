"""Byte streams of archives: detects compression, decompresses, hashes and bounds them.

Runs in the unpack process. Every reader reads forward only, nothing seeks.
"""

import bz2
import hashlib
import io
import lzma
import zlib
from collections.abc import Callable
from typing import BinaryIO, Protocol, cast

from covey.errors import CoveyError, InvalidArgumentError, TooLargeError

CHUNK_BYTES = 1 << 20
MAGIC_BYTES = 6
MAX_ZSTD_WINDOW_BYTES = 1 << 27

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
)


class Readable(Protocol):
    """The source of a reader."""

    def read(self, size: int = -1, /) -> bytes: ...


def compression_of(head: bytes) -> str:
    """The compression of a stream by its first bytes: `gzip`, `zstd`, `xz`, `bzip2`, or empty for none."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    return ""


class HashingReader(io.RawIOBase):
    """Reads through, and computes the SHA-256 digest and the size. Raises TooLargeError over the limit.

    With `known_digest`, which somebody else verifies, nothing is hashed.
    """

    def __init__(
        self,
        source: Readable,
        limit_bytes: int,
        what: str,
        report: Callable[[int], None] | None = None,
        *,
        known_digest: str = "",
    ) -> None:
        super().__init__()
        self._source = source
        self._limit_bytes = limit_bytes
        self._what = what
        self._report = report
        self._hash = hashlib.sha256()
        self._known_digest = known_digest
        self.count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size if size >= 0 else CHUNK_BYTES)
        if data:
            if not self._known_digest:
                self._hash.update(data)
            self.count += len(data)
            if self.count > self._limit_bytes:
                raise TooLargeError(f"{self._what} exceeds the limit of {self._limit_bytes} bytes")
            if self._report is not None:
                self._report(self.count)
        return data

    def drain(self) -> None:
        """Read the rest, so that the digest covers the whole stream."""
        while self.read(CHUNK_BYTES):
            pass

    @property
    def digest(self) -> str:
        """`sha256:` and the digest of what was read so far, or the known digest of the whole stream."""
        return self._known_digest or f"sha256:{self._hash.hexdigest()}"


class PrefixReader(io.RawIOBase):
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, source: Readable) -> None:
        super().__init__()
        self._head = head
        self._source = source

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if not self._head:
            return self._source.read(size if size >= 0 else CHUNK_BYTES)
        if size < 0 or size >= len(self._head):
            head, self._head = self._head, b""
        else:
            head, self._head = self._head[:size], self._head[size:]
        return head


class GzipReader(io.RawIOBase):
    """Decompresses all members of a gzip stream. It reads 64 KiB at a time, so that a gzip bomb yields at most 64 MiB."""

    _INPUT_BYTES = 1 << 16

    def __init__(self, source: Readable) -> None:
        super().__init__()
        self._source = source
        self._decoder = zlib.decompressobj(wbits=31)
        self._pending = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        limit = size if size >= 0 else CHUNK_BYTES
        while not self._pending and not self._ended:
            self._pending = memoryview(self._decode_more())
        data = bytes(self._pending[:limit])
        self._pending = self._pending[limit:]
        return data

    def _decode_more(self) -> bytes:
        if not self._decoder.eof:
            data = self._source.read(self._INPUT_BYTES)
            if not data:
                raise EOFError("unexpected end")
            return self._decoder.decompress(data)
        data = self._decoder.unused_data or self._source.read(self._INPUT_BYTES)
        if not data.strip(b"\0"):  # the end, or the padding that some tools write after the last member
            self._ended = True
            return b""
        self._decoder = zlib.decompressobj(wbits=31)
        return self._decoder.decompress(data)


class DecompressionErrorReader(io.RawIOBase):
    """Turns the various errors of decompressors into an InvalidArgumentError that names the stream."""

    def __init__(self, source: Readable, compression: str, what: str) -> None:
        super().__init__()
        self._source = source
        self._compression = compression
        self._what = what

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._source.read(size if size >= 0 else CHUNK_BYTES)
        except (MemoryError, CoveyError):
            raise
        except Exception as error:  # zlib, bz2, lzma and zstandard have no base in common
            raise InvalidArgumentError(f"{self._what} is not a complete {self._compression} stream: {error}") from error


def open_stream(source: Readable, what: str) -> tuple[Readable, str]:
    """The decompressed stream, and the name of its compression."""
    head = b""
    while len(head) < MAGIC_BYTES and (more := source.read(MAGIC_BYTES - len(head))):
        head += more
    compression = compression_of(head)
    rewound = PrefixReader(head, source)
    if not compression:
        return rewound, ""
    return DecompressionErrorReader(_decompressed(rewound, compression), compression, what), compression


def copy_stream(source: Readable, target: BinaryIO) -> int:
    """Copy to the end. Returns the number of bytes."""
    count = 0
    while data := source.read(CHUNK_BYTES):
        target.write(data)
        count += len(data)
    return count


def _decompressed(source: Readable, compression: str) -> Readable:
    if compression == "gzip":
        return GzipReader(source)
    stream = cast("BinaryIO", source)
    if compression == "xz":
        return lzma.open(stream)
    if compression == "bzip2":
        return bz2.open(stream)
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW_BYTES)
    return decompressor.stream_reader(stream, read_across_frames=True, closefd=False)
