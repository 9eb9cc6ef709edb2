"""Files that a container's root needs before the runtime mounts over them, and the file that tells programs where they run.

Invariant: making them changes no time of a directory that the image has, so that `docker diff` shows only the user's changes.
The paths are those of `agent.filesystem.runtime_paths`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from agent.runtime import rootfs_paths

_DIRECTORIES = ("dev", "etc", "proc", "sys")
_FILES = (".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf")
_LINKS = {"etc/mtab": "/proc/mounts"}


def make_mount_points(root: Path) -> None:
    """Create what is missing. A path that the image uses for something else stays as it is."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        for path in (*_DIRECTORIES, *_FILES, *_LINKS):
            with contextlib.suppress(OSError):  # the runtime says what is wrong with the image
                if not _exists(root_fd, path):
                    _make(root_fd, path)
    finally:
        os.close(root_fd)


def _exists(root_fd: int, path: str) -> bool:
    try:
        os.close(rootfs_paths.open_in_root(root_fd, path, os.O_PATH | os.O_NOFOLLOW))
    except FileNotFoundError:
        return False
    return True


def _make(root_fd: int, path: str) -> None:
    folder, _, name = path.rpartition("/")
    with _keeping_times(root_fd, folder or ".") as parent:
        if path in _DIRECTORIES:
            os.mkdir(name, 0o755, dir_fd=parent)
        elif path in _LINKS:
            os.symlink(_LINKS[path], name, dir_fd=parent)
        else:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755, dir_fd=parent))


@contextlib.contextmanager
def _keeping_times(root_fd: int, folder: str) -> Iterator[int]:
    """The directory, whose times are set back afterwards."""
    parent = rootfs_paths.open_in_root(root_fd, folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        before = os.fstat(parent)
        yield parent
        os.utime(parent, ns=(before.st_atime_ns, before.st_mtime_ns))
    finally:
        os.close(parent)
