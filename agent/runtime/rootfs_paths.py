"""Paths inside a container's root filesystem, opened so that no symbolic link leads out of it.

Invariant: every path that an image or a container can choose is opened with openat2 and RESOLVE_IN_ROOT (Linux 5.6).
Called for /etc/passwd and /etc/group, working directories, and the copying of files into volumes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path, PurePosixPath

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
_RESOLVE_IN_ROOT = 0x10
_HOW = struct.Struct("QQQ")

_libc = ctypes.CDLL(None, use_errno=True)


def open_in_root(root_fd: int, path: str, flags: int = os.O_RDONLY, mode: int = 0) -> int:
    """A descriptor of `path`, resolved as after a chroot into the root."""
    return _openat2(root_fd, path, flags, mode, _RESOLVE_IN_ROOT)


def open_beneath(root_fd: int, path: str, flags: int = os.O_PATH) -> int:
    """A descriptor of the relative `path`. Raises OSError (EXDEV) if any part of it leads out of the directory."""
    return _openat2(root_fd, path, flags, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)


def _openat2(root_fd: int, path: str, flags: int, mode: int, resolve: int) -> int:
    how = _HOW.pack(flags | os.O_CLOEXEC, mode if flags & os.O_CREAT else 0, resolve)
    fd: int = _libc.syscall(_SYS_OPENAT2, root_fd, os.fsencode(path), how, len(how))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return fd


def read_text(root: Path, path: str, limit_bytes: int = 4 << 20) -> str:
    """The text of a file inside the root; "" if it cannot be opened."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        fd = open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    finally:
        os.close(root_fd)
    with os.fdopen(fd, "rb") as file:
        return file.read(limit_bytes).decode(errors="replace")


def make_directories(root: Path, path: str) -> None:
    """`mkdir -p` inside the root. Raises NotADirectoryError if a component is not a directory."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        done = PurePosixPath("/")
        parent = os.dup(root_fd)
        try:
            for part in PurePosixPath("/", path).parts[1:]:
                done /= part
                try:
                    child = open_in_root(root_fd, str(done), os.O_PATH | os.O_DIRECTORY)
                except OSError as error:
                    if error.errno != errno.ENOENT:
                        raise
                    os.mkdir(part, 0o755, dir_fd=parent)
                    child = open_in_root(root_fd, str(done), os.O_PATH | os.O_DIRECTORY)
                os.close(parent)
                parent = child
        finally:
            os.close(parent)
    finally:
        os.close(root_fd)
