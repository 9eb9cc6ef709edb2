"""Tmpfs of the secrets: mounts one if needed, and verifies it with statfs(2) instead of trusting the mount table."""

import ctypes
import os
from pathlib import Path

from agent.runtime import mounts
from covey.errors import UnsupportedError

_TMPFS_OPTIONS = "size=256m,mode=0700"
_TMPFS_MAGIC = 0x01021994
_RAMFS_MAGIC = 0x858458F6

_libc = ctypes.CDLL(None, use_errno=True)


class _StatFs(ctypes.Structure):
    _fields_ = (("f_type", ctypes.c_long), ("rest", ctypes.c_byte * 248))


def is_tmpfs(folder: Path) -> bool:
    """Whether the directory is on a tmpfs or ramfs. A tmpfs may be swapped out, if the host has swap."""
    found = _StatFs()
    if _libc.statfs(os.fsencode(folder), ctypes.byref(found)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(folder))
    return found.f_type & 0xFFFFFFFF in {_TMPFS_MAGIC, _RAMFS_MAGIC}


def ensure_tmpfs(folder: Path) -> bool:
    """Create the directory and mount a tmpfs on it unless it is on one. Returns whether it was mounted now.

    Raises UnsupportedError if there is no tmpfs and none can be mounted.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    if is_tmpfs(folder):
        return False
    flags = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
    try:
        mounts.mount("covey-secrets", str(folder), "tmpfs", flags, _TMPFS_OPTIONS)
    except OSError as error:
        raise UnsupportedError(
            f"{folder} is not on a tmpfs and mounting one failed ({error.strerror}); secrets are never written to a disk: "
            "mount a tmpfs there"
        ) from error
    if not is_tmpfs(folder):
        raise UnsupportedError(f"{folder} is not on a tmpfs; secrets are never written to a disk: mount a tmpfs there")
    return True
