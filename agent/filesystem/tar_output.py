"""Tar stream of files: headers, and contents that the kernel moves from the file to the pipe.

Runs in the worker process. Invariant: an entry has exactly as many bytes as its header says, even while its file changes.
"""

import os
import stat
import tarfile
from collections.abc import Callable, Mapping

from agent.filesystem.tar_sinks import Sink

_BUFFER_BYTES = 1 << 20
_SMALL_FILE_BYTES = 64 << 10
_BLOCK = tarfile.BLOCKSIZE
_XATTR_HEADER = "SCHILY.xattr."
_ZEROS = bytes(1 << 16)


class TarOutput:
    """Writes entries to a sink. `hash_update` gets every byte, if it is given; then contents pass through memory."""

    def __init__(self, sink: Sink, hash_update: Callable[[bytes], None] | None = None) -> None:
        self._sink = sink
        self._hash_update = hash_update
        self._buffer = bytearray()
        self.count = 0
        """Bytes so far."""

    def add(self, info: tarfile.TarInfo, content: int | None = None) -> None:
        """Write an entry; `content` is an open file with `info.size` bytes."""
        self._write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        if content is None or not info.size:
            return
        if info.size <= _SMALL_FILE_BYTES or self._hash_update is not None:
            self._copy(content, info.size)
        else:
            self.flush()
            self._sink.send(content, info.size)
            self.count += info.size
        self._write(bytes(-info.size % _BLOCK))

    def end(self) -> None:
        """Write the end of the archive."""
        self._write(bytes(2 * _BLOCK))
        self.flush()
        self._sink.end()

    def flush(self) -> None:
        """Write what is buffered."""
        data = bytes(self._buffer)
        self._buffer.clear()
        self._sink.write(data)

    def _write(self, data: bytes) -> None:
        if self._hash_update is not None:
            self._hash_update(data)
        self.count += len(data)
        self._buffer += data
        if len(self._buffer) >= _BUFFER_BYTES:
            self.flush()

    def _copy(self, content: int, size: int) -> None:
        while size:
            data = os.read(content, min(size, _BUFFER_BYTES)) or _ZEROS[:size]  # the file became shorter meanwhile
            self._write(data)
            size -= len(data)


def entry(name: str, found: os.stat_result, xattrs: Mapping[str, bytes], link: str = "") -> tarfile.TarInfo | None:
    """The header of a file; None for sockets, which no archive holds. `link` is the target of a symlink."""
    info = tarfile.TarInfo(name)
    info.mode = stat.S_IMODE(found.st_mode)
    info.uid, info.gid = found.st_uid, found.st_gid
    info.mtime = int(found.st_mtime)
    info.pax_headers = {
        f"{_XATTR_HEADER}{key}": value.decode("utf-8", "surrogateescape") for key, value in xattrs.items()
    }
    kind = _TYPES.get(stat.S_IFMT(found.st_mode))
    if kind is None:
        return None
    info.type = kind
    if kind == tarfile.REGTYPE:
        info.size = found.st_size
    elif kind == tarfile.SYMTYPE:
        info.linkname = link
    elif kind in {tarfile.CHRTYPE, tarfile.BLKTYPE}:
        info.devmajor, info.devminor = os.major(found.st_rdev), os.minor(found.st_rdev)
    return info


_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}
