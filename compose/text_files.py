"""Text files and standard input, within the size limit of a Compose file. Reading never waits for a device or an idle pipe."""

import codecs
import errno
import os
import select
import stat
import sys
import time
from pathlib import Path

from compose.errors import ComposeFileError, Location
from compose.yaml_reader import MAX_BYTES
from covey.errors import InvalidArgumentError, TooLargeError

PIPE_SECONDS = 10.0
"""How long the writer of a pipe may take: ``-c <(program)`` is one."""
_NULL_DEVICE = os.makedev(1, 3)
_CHUNK = 1 << 16


def read_stdin() -> str:
    """The text of standard input.

    Raises:
        ComposeFileError: not UTF-8.
        TooLargeError: larger than 1 MiB.
    """
    return _text(_within(sys.stdin.buffer.read(MAX_BYTES + 1), "stdin", MAX_BYTES), "stdin")


def require_below(path: Path, root: Path | None) -> None:
    """Check that a file is below a directory, also after its links are followed. No directory means no limit.

    Raises:
        InvalidArgumentError: it is outside.
    """
    if root is not None and not path.resolve().is_relative_to(root.resolve()):
        raise InvalidArgumentError(f"{path} is outside {root}: only files of the repository are read")


def read_text(path: Path, root: Path | None = None) -> str:
    """The text of a file, which must be below ``root`` if that is given.

    Raises:
        OSError: it cannot be read, or is a device.
        InvalidArgumentError: not UTF-8, or outside.
        TooLargeError: larger than 1 MiB.
    """
    return _text(read_bytes(path, MAX_BYTES, root), str(path))


def read_bytes(path: Path, limit: int, root: Path | None = None) -> bytes:
    """The content of a regular file, of a pipe that has a writer, or of the null device.

    Args:
        path: the file.
        limit: bytes that it may have.
        root: the directory that it must be in; None for any.

    Raises:
        OSError: it cannot be read, or is a device.
        InvalidArgumentError: outside.
        TooLargeError: larger than the limit.
    """
    try:
        require_below(path, root)
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (ValueError, RuntimeError) as error:  # a NUL in the path; a loop of links
        raise OSError(errno.EINVAL, "Invalid path") from error
    with os.fdopen(handle, "rb", buffering=0) as file:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        if stat.S_ISFIFO(status.st_mode):
            return _within(_pipe(handle, limit), str(path), limit)
        if not stat.S_ISREG(status.st_mode) and status.st_rdev != _NULL_DEVICE:
            raise OSError(errno.EINVAL, "Is a device, and not a file")
        return _within(file.read(limit + 1), str(path), limit)


def _pipe(handle: int, limit: int) -> bytes:
    """What is written to a pipe until its writer closes it."""
    deadline = time.monotonic() + PIPE_SECONDS
    data = bytearray()
    while len(data) <= limit:
        try:
            chunk = os.read(handle, _CHUNK)
        except BlockingIOError:
            left = deadline - time.monotonic()
            if left > 0 and select.select([handle], [], [], left)[0]:
                continue
            reason = f"Is a pipe whose writer did not close it within {PIPE_SECONDS:.0f} seconds"
            raise OSError(errno.ETIMEDOUT, reason) from None
        if not chunk:
            break
        data += chunk
    if not data:
        raise OSError(errno.EINVAL, "Is a pipe that nothing was written to")
    return bytes(data)


def _within(data: bytes, name: str, limit: int) -> bytes:
    if len(data) > limit:
        raise TooLargeError(f"{name} is larger than {limit >> 20} MiB")
    return data


def _text(data: bytes, name: str) -> str:
    """The text of UTF-8, or of UTF-16 with a byte order mark, as YAML allows both."""
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not data.startswith(codecs.BOM_UTF32_LE)
    try:
        return data.decode("utf-16" if utf16 else "utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        place = Location(name, before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))
        raise ComposeFileError("is not UTF-8 text", location=place) from error
