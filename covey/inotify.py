"""inotify of the Linux kernel: watches on files and directories, and the events that it reports.

Invariant: the file descriptor does not block, so a loop or ``select`` decides when to read. Called by the agent and by the
command line.
"""

import ctypes
import os
import struct
from typing import NamedTuple

IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x1000000
IN_MASK_ADD = 0x20000000
IN_ISDIR = 0x40000000
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_HEADER = struct.Struct("iIII")
_READ_BYTES = 64 << 10

_libc = ctypes.CDLL(None, use_errno=True)


class InotifyEvent(NamedTuple):
    """One event: the watch descriptor, the kernel's mask, and the entry of a watched directory or ""."""

    wd: int
    mask: int
    name: str


class InotifyDescriptor:
    """One inotify instance. Raises OSError if the user has too many."""

    def __init__(self) -> None:
        self._fd = _libc.inotify_init1(_FLAGS)
        if self._fd < 0:
            code = ctypes.get_errno()
            raise OSError(
                code, f"inotify is not available ({os.strerror(code)}): raise the sysctl fs.inotify.max_user_instances"
            )

    def fileno(self) -> int:
        return int(self._fd)

    def add(self, path: os.PathLike[str] | str, mask: int) -> int:
        """Watch a path; returns the watch descriptor, which is the same for the same inode. Raises OSError."""
        wd = int(_libc.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(mask)))
        if wd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fspath(path))
        return wd

    def remove(self, wd: int) -> None:
        """End a watch; one that has ended already is no error."""
        _libc.inotify_rm_watch(self._fd, wd)

    def read(self) -> list[InotifyEvent]:
        """The events that are there now, at most 64 KiB of them."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return []
        events, offset = [], 0
        while offset < len(data):
            wd, mask, _, length = _HEADER.unpack_from(data, offset)
            offset += _HEADER.size
            events.append(InotifyEvent(wd, mask, os.fsdecode(data[offset : offset + length].rstrip(b"\0"))))
            offset += length
        return events

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
