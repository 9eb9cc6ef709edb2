"""Tar stream that is not trusted, from a pipe: decompressed if need be, read forward only, in big pieces.

Runs in the worker process. Extension headers, entries and the size of what a compressed archive unpacks to are bounded.
"""

import errno
import io
import os
import tarfile
from typing import BinaryIO, NoReturn, cast

from agent.image.content.bounded_tar import BoundedTarInfo
from agent.image.content.streams import MAGIC_BYTES, HashingReader, Readable, compression_of, open_stream
from covey.errors import InvalidArgumentError

UNPACKED_LIMIT_BYTES = 64 << 30
_BUFFER_BYTES = 128 << 10
_CHUNK_BYTES = 1 << 20


class _PlainTarInfo(BoundedTarInfo):
    """A header of a file without holes: the map of a sparse file may lie, and tarfile reads it before its size is known."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._refuse_sparse()
        return super()._proc_member(archive)

    def _refuse_sparse(self, *_: object) -> NoReturn:
        raise InvalidArgumentError(
            f"the archive's entry {self.name!r} is a sparse file: pack it without holes (tar without --sparse)"
        )

    _proc_gnusparse_00 = _refuse_sparse
    _proc_gnusparse_01 = _refuse_sparse
    _proc_gnusparse_10 = _refuse_sparse


class _Descriptor:
    """A descriptor as the decompressors read it, after the bytes that were read already."""

    def __init__(self, fd: int, head: bytes) -> None:
        self._fd = fd
        self._head = head

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            head, self._head = self._head[:size], self._head[size:]
            return head
        return os.read(self._fd, size if size >= 0 else _BUFFER_BYTES)


class TarInput(io.RawIOBase):
    """The uncompressed tar on a descriptor."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._buffer = b""
        self._position = 0
        self._source: Readable | None = None
        self._splices = True
        while len(self._buffer) < MAGIC_BYTES and (data := os.read(fd, _BUFFER_BYTES)):
            self._buffer += data
        if compression_of(self._buffer):
            plain, _ = open_stream(_Descriptor(fd, self._buffer), "the archive")
            self._source = HashingReader(plain, UNPACKED_LIMIT_BYTES, "the archive")
            self._buffer = b""

    def open_tar(self) -> tarfile.TarFile:
        """The headers of the archive. Raises tarfile.TarError if it is none."""
        return tarfile.TarFile(
            fileobj=cast("BinaryIO", self),
            mode="r",
            tarinfo=_PlainTarInfo,
            encoding="utf-8",
            errors="surrogateescape",
        )

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = 0, /) -> int:
        """Skip forward; tarfile asks for nothing else."""
        if whence or position < self._position:
            raise tarfile.StreamError("seeking backwards is not possible")
        while self._position < position and self.read(min(position - self._position, _CHUNK_BYTES)):
            pass
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Exactly `size` bytes, fewer only at the end of the stream."""
        parts, missing = [], size if size >= 0 else _BUFFER_BYTES
        while missing:
            if not self._buffer:
                self._buffer = self._more()
            if not self._buffer:
                break
            part, self._buffer = self._buffer[:missing], self._buffer[missing:]
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        self._position += len(data)
        return data

    def copy_to(self, target: int, size: int) -> None:
        """Write the next `size` bytes to a file. Raises tarfile.ReadError if the stream ends before."""
        left = size
        while left:
            if moved := self._splice(target, left):
                self._position += moved
                left -= moved
                continue
            data, self._buffer = self._buffer or self._more(), b""
            if not data:
                raise tarfile.ReadError("unexpected end of data")
            if len(data) > left:
                data, self._buffer = data[:left], data[left:]
            _write_all(target, data)
            self._position += len(data)
            left -= len(data)

    def _splice(self, target: int, limit: int) -> int:
        """Let the kernel move bytes from the pipe to the file. 0 if it cannot, or at the end of the stream."""
        if self._buffer or self._source is not None or not self._splices:
            return 0
        try:
            return os.splice(self._fd, target, min(limit, _CHUNK_BYTES))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._splices = False  # no pipe, or a file system that does not take it
            return 0

    def check_end(self) -> None:
        """Raises tarfile.ReadError if the archive broke off inside a header, which tarfile takes for its end."""
        if self._position % tarfile.BLOCKSIZE:
            raise tarfile.ReadError("unexpected end of data")

    def drain(self) -> None:
        """Read what follows the archive, so that the sender is not cut off."""
        while self.read(_CHUNK_BYTES):
            pass

    def _more(self) -> bytes:
        return os.read(self._fd, _BUFFER_BYTES) if self._source is None else self._source.read(_CHUNK_BYTES)


def _write_all(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
