"""Files of a container's log: the current one, and the older ones that rotation numbered and perhaps compressed.

`container.log` is the file that conmon writes; `container.log.1` is younger than `container.log.2`, and `.gz` stands
behind the number of a compressed one. Invariant: conmon writes the current file only; rotation alone renames and removes.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

_COPY_BYTES = 1 << 20
_TIME_BYTES = 29
COMPRESSED = ".gz"


class FileIdentity(NamedTuple):
    """What stays the same when a file is renamed."""

    device: int
    inode: int


def numbered_path(path: Path, number: int) -> Path:
    """The path of the log's older file with this number, uncompressed."""
    return path.with_name(f"{path.name}.{number}")


def older_files(path: Path) -> list[tuple[int, Path]]:
    """The numbers and paths of the older files, the oldest first."""
    pattern = re.compile(re.escape(path.name) + r"\.(\d+)(?:\.gz)?")
    try:
        names = [item.name for item in path.parent.iterdir()]
    except FileNotFoundError:
        return []
    found = {int(match[1]): path.with_name(name) for name in sorted(names) if (match := pattern.fullmatch(name))}
    return sorted(found.items(), reverse=True)


def open_files(path: Path) -> list[int]:
    """Descriptors of all files of the log, the oldest first. A compressed file is unpacked into a file without a name.

    The youngest is opened first: a rotation meanwhile moves files to numbers that are still to be opened, so none is missed.
    """
    highest = max((number for number, _ in older_files(path)), default=0)
    opened: list[int] = []
    try:
        for number in range(highest + 2):
            fd = _open_numbered(path, number)
            if fd is not None and identity(fd) not in {identity(other) for other in opened}:
                opened.append(fd)
            elif fd is not None:
                os.close(fd)
    except BaseException:
        close_files(opened)
        raise
    return opened[::-1]


def _open_numbered(path: Path, number: int) -> int | None:
    """The file with this number, compressed or not; 0 is the current file."""
    if number == 0:
        return open_file(path)
    plain = numbered_path(path, number)
    fd = open_file(plain)
    return open_file(plain.with_name(plain.name + COMPRESSED)) if fd is None else fd


def open_file(path: Path) -> int | None:
    """A descriptor of one file, or None if it is missing."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if path.suffix != COMPRESSED:
        return fd
    with os.fdopen(fd, "rb") as packed, gzip.open(packed) as text, tempfile.TemporaryFile(dir=path.parent) as unpacked:
        shutil.copyfileobj(text, unpacked, _COPY_BYTES)
        unpacked.flush()
        return os.dup(unpacked.fileno())


def open_newer(path: Path, current: int | None) -> int | None:
    """The file that follows the one that is open: the current file of the log, or one that rotation has numbered since.

    None if there is none yet. A file that rotation has compressed or removed is known by the time of its first line.
    """
    files = open_files(path)
    try:
        if current is None:
            return files.pop(0) if files else None
        known = [identity(fd) for fd in files]
        if identity(current) in known:
            index = known.index(identity(current)) + 1
        else:
            first = first_time(current)
            index = next((n for n, fd in enumerate(files) if first_time(fd) > first), len(files))
        return files.pop(index) if index < len(files) else None
    finally:
        close_files(files)


def first_time(fd: int) -> bytes:
    """Date and time at the beginning of the file, which sort as they follow one another."""
    return os.pread(fd, _TIME_BYTES, 0)


def is_current(path: Path, fd: int) -> bool:
    """Whether the open file is the one that conmon writes, or there is none."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return True
    return FileIdentity(there.st_dev, there.st_ino) == identity(fd)


def identity(fd: int) -> FileIdentity:
    status = os.fstat(fd)
    return FileIdentity(status.st_dev, status.st_ino)


def close_files(files: list[int]) -> None:
    """Close the descriptors and empty the list."""
    for fd in files:
        os.close(fd)
    files.clear()


def compress(path: Path) -> None:
    """Replace a numbered file by its compressed form. A crash leaves either of them readable."""
    target = path.with_name(path.name + COMPRESSED)
    partial = path.with_name(f"compressing-{path.name}")
    with path.open("rb") as source, gzip.open(partial, "wb", compresslevel=1) as packed:
        shutil.copyfileobj(source, packed, _COPY_BYTES)
    partial.rename(target)
    path.unlink()
