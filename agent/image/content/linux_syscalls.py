"""openat2, syncfs and mallopt, which Python lacks. Linux 5.6 or later.

The unpack process uses both. openat2 with RESOLVE_IN_ROOT opens a path that cannot leave a directory, whatever symlinks
it meets: the kernel enforces it. syncfs writes thousands of unpacked files to the disk in one call. mallopt keeps the
memory of large buffers.
"""

import ctypes
import os
from pathlib import Path

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MMAP_THRESHOLD_BYTES = 32 << 20
_TRIM_THRESHOLD_BYTES = 64 << 20

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_in_root(root: int, path: str, flags: int = os.O_PATH | os.O_DIRECTORY) -> int:
    """Open `path` as a process chrooted to `root` would. Returns a file descriptor. Raises OSError as `os.open` does."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    descriptor: int = _libc.syscall(_SYS_OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return descriptor


def sync_filesystem(folder: Path) -> None:
    """Write all cached data of the file system of `folder` to its disk, and wait for it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def keep_large_buffers() -> None:
    """Make malloc reuse the memory of buffers of a megabyte, for a process that only moves data.

    By default each one is mapped anew, and clearing its pages costs more than copying the data. Other libcs than glibc
    have no mallopt; they are left as they are.
    """
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)
