"""Making sure that a folder is on a tmpfs, and saying so by asking the kernel rather than by believing a mount table."""

import ctypes
import os
from pathlib import Path

from covey.errors import UnsupportedError

SIZE_LIMIT = "size=256m,mode=0700"
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_TMPFS_MAGIC = 0x01021994
_RAMFS_MAGIC = 0x858458F6

_libc = ctypes.CDLL(None, use_errno=True)


class _StatFs(ctypes.Structure):
    _fields_ = (("f_type", ctypes.c_long), ("rest", ctypes.c_byte * 248))


def is_tmpfs(folder: Path) -> bool:
    """Whether the folder's file system keeps its files in memory alone (tmpfs may swap; that is the host's affair)."""
    found = _StatFs()
    _check(_libc.statfs(os.fsencode(folder), ctypes.byref(found)), folder)
    return found.f_type & 0xFFFFFFFF in {_TMPFS_MAGIC, _RAMFS_MAGIC}


def ensure_tmpfs(folder: Path) -> bool:
    """Make the folder, on a tmpfs of its own unless it is on one. True when it was mounted here; raises UnsupportedError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    if is_tmpfs(folder):
        return False
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    try:
        _check(_libc.mount(b"covey-secrets", os.fsencode(folder), b"tmpfs", flags, SIZE_LIMIT.encode()), folder)
    except OSError as error:
        raise UnsupportedError(
            f"{folder} is not on a tmpfs and none can be mounted there ({error.strerror}); secrets are never written to a disk: "
            "mount a tmpfs on it"
        ) from error
    if not is_tmpfs(folder):
        raise UnsupportedError(f"{folder} is not on a tmpfs; secrets are never written to a disk: mount a tmpfs on it")
    return True


def _check(result: int, folder: Path) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(folder))
