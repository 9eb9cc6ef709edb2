"""Changes of a container: compares its writable layer with the image's layers, as `docker diff` does.

Runs in the worker process. Reads overlayfs's own directories: a 0/0 character device is a deleted path, and an opaque directory
one that was deleted and made again.
"""

import contextlib
import os
import stat
from collections.abc import Sequence

from agent.filesystem.protocol import FileChange
from agent.filesystem.runtime_paths import is_runtime_path
from agent.image.content.linux_syscalls import open_in_root

MODIFIED, ADDED, DELETED = 0, 1, 2
CHANGE_LIMIT = 500_000
_OPAQUE_XATTR = "trusted.overlay.opaque"


class Lowers:
    """The image's layers as one tree, topmost first."""

    def __init__(self, layers: Sequence[str]) -> None:
        self._layers = [os.open(layer, os.O_PATH | os.O_DIRECTORY) for layer in layers]

    def lstat(self, path: str) -> os.stat_result | None:
        """What the image has at the path, relative to the root; None if it has nothing there."""
        for layer in self._layers:
            hidden = False
            parts = path.split("/")
            for depth in range(1, len(parts)):
                above = _lstat(layer, "/".join(parts[:depth]))
                if above is not None and not stat.S_ISDIR(above.st_mode):
                    return None
                hidden = hidden or (above is not None and _is_opaque(layer, "/".join(parts[:depth])))
            found = _lstat(layer, path)
            if found is not None:
                return None if _is_whiteout(found) else found
            if hidden:
                return None
        return None

    def close(self) -> None:
        for layer in self._layers:
            os.close(layer)


def list_changes(upper: str, layers: Sequence[str]) -> tuple[FileChange, ...]:
    """The changes, sorted by path."""
    root = os.open(upper, os.O_RDONLY | os.O_DIRECTORY)
    lowers = Lowers(layers)
    try:
        changes: dict[str, int] = {}
        _compare(root, lowers, "", changes)
        return tuple(FileChange(_text(f"/{path}"), kind) for path, kind in sorted(changes.items()))
    finally:
        lowers.close()
        os.close(root)


def _text(path: str) -> str:
    """The path as text; bytes that are not UTF-8 are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def _compare(root: int, lowers: Lowers, top: str, changes: dict[str, int]) -> None:
    """Add the changes below a directory, depth first."""
    pending = [top]
    while pending and len(changes) < CHANGE_LIMIT:
        folder = pending.pop()
        directories = []
        for path, found in _children(root, folder):
            below = lowers.lstat(path)
            if is_runtime_path(path, found.st_mode, found.st_size, in_image=below is not None):
                if stat.S_ISDIR(found.st_mode):
                    directories.append(path)
                continue
            kind = _kind(root, path, found, below)
            if kind is not None:
                if kind != MODIFIED:
                    _mark_parent(changes, path, root, lowers)
                changes[path] = kind
            if stat.S_ISDIR(found.st_mode):
                directories.append(path)
        pending += reversed(directories)


def _children(root: int, folder: str) -> list[tuple[str, os.stat_result]]:
    result = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # removed meanwhile
        directory = open_in_root(root, folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for name in sorted(entry.name for entry in os.scandir(directory)):
                with contextlib.suppress(FileNotFoundError):
                    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                    result.append((f"{folder}/{name}" if folder else name, found))
        finally:
            os.close(directory)
    return result


def _kind(root: int, path: str, found: os.stat_result, below: os.stat_result | None) -> int | None:
    """The kind of change of a path, None if a directory is only there because of its children."""
    if _is_whiteout(found):
        return DELETED if below is not None else None
    if below is None:
        return ADDED
    if stat.S_ISDIR(found.st_mode) and stat.S_ISDIR(below.st_mode):
        if _is_opaque(root, path):
            return MODIFIED
        same = (found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns) == (
            below.st_mode, below.st_uid, below.st_gid, below.st_mtime_ns
        )  # fmt: skip
        return None if same else MODIFIED
    return MODIFIED


def _mark_parent(changes: dict[str, int], path: str, root: int, lowers: Lowers) -> None:
    """A directory in which something was added or deleted counts as modified, even if it looks the same."""
    parent = path.rpartition("/")[0]
    if not parent or parent in changes:
        return
    found = _lstat(root, parent)
    below = lowers.lstat(parent)
    if found is not None and is_runtime_path(parent, found.st_mode, found.st_size, in_image=below is not None):
        return
    changes[parent] = MODIFIED


def _lstat(root: int, path: str) -> os.stat_result | None:
    with contextlib.suppress(OSError):
        fd = open_in_root(root, path, os.O_PATH | os.O_NOFOLLOW)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)
    return None


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_opaque(root: int, path: str) -> bool:
    with contextlib.suppress(OSError):
        fd = open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            return os.getxattr(fd, _OPAQUE_XATTR) == b"y"
        finally:
            os.close(fd)
    return False
