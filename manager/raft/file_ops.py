"""File system operations used by the Raft storage, so that tests can inject crashes and failures between them.

Invariant: a file gets its final name only when its content is durable: written to a temporary file, flushed, renamed,
then the directory is flushed. All functions raise OSError; `disk` turns it into the end of this manager.
Called by `wal_segment`, `wal`, `snapshots` and `disk`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_NEW = ".new"


class FileOps:
    """The operations of the kernel. Stateless, so safe in any thread."""

    def make_folder(self, folder: Path) -> None:
        """Creates a directory and its missing parents. The name of an existing one is flushed, too, because it may not be durable."""
        if not folder.is_dir():
            self.make_folder(folder.parent)
            self.mkdir(folder)
        self.sync_folder(folder.parent)

    def mkdir(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)

    def create(self, path: Path) -> int:
        """Creates or truncates a file and opens it for writing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def reopen(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """Writes all data at an offset."""
        done = os.pwrite(fd, data, offset)
        while done < len(data):  # a disk that fills up writes a part first and fails the next write
            done += os.pwrite(fd, memoryview(data)[done:], offset + done)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def flush(self, fd: int) -> None:
        """Returns when the file's content and size are durable; its name need not be."""
        os.fdatasync(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def rename(self, path: Path, to: Path) -> None:
        path.rename(to)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        """Returns when the names in a directory are durable."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


REAL_FILE_OPS = FileOps()


def write_temporary(files: FileOps, path: Path, chunks: Iterable[bytes]) -> Path:
    """Writes the future content of ``path`` durably to a temporary file beside it; ``replace_durably`` completes it."""
    fresh = path.with_suffix(_NEW)
    fd = files.create(fresh)
    try:
        size = 0
        for chunk in chunks:
            files.write(fd, chunk, size)
            size += len(chunk)
        files.flush(fd)
    except OSError:
        with suppress(OSError):
            files.unlink(fresh)  # a full disk needs the space
        raise
    finally:
        files.close(fd)
    return fresh


def replace_durably(files: FileOps, fresh: Path, path: Path) -> None:
    """Renames the temporary file in one step, durably."""
    files.rename(fresh, path)
    files.sync_folder(path.parent)


def remove_leftovers(files: FileOps, folder: Path) -> None:
    """Removes temporary files of an earlier process, and makes the names durable that it gave just before it ended."""
    for leftover in folder.glob("*" + _NEW):
        files.unlink(leftover)
    files.sync_folder(folder)
