"""Tar of a directory tree that may change meanwhile: every file below a directory, parents before children.

Runs in the worker process. Invariant: no symlink is followed. Called for `docker cp` from a container, for export, and for the
layer of a commit.
"""

import contextlib
import os
import stat
import tarfile
from collections.abc import Callable

from agent.filesystem.tar_output import TarOutput, entry
from agent.image.content.linux_syscalls import open_in_root

_OPAQUE_XATTR = "trusted.overlay.opaque"
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"

Skip = Callable[[str, os.stat_result], bool]


def _skip_nothing(_path: str, _found: os.stat_result) -> bool:
    return False


class TreeArchive:
    """Writes trees to one tar. With `as_layer`, marks of overlayfs become whiteouts as image layers have them.

    `skip` decides by the path below the tree and what is there.
    """

    def __init__(self, output: TarOutput, *, as_layer: bool = False, skip: Skip = _skip_nothing) -> None:
        self._output = output
        self._as_layer = as_layer
        self._skip = skip
        self._names_by_inode: dict[tuple[int, int], str] = {}

    def add_file(self, parent: int, base: str, name: str) -> None:
        """Add what is called `base` in the directory, as `name`. Children of a directory are not added."""
        found = os.stat(base, dir_fd=parent, follow_symlinks=False)
        self._add(parent, base, name, found)

    def add_tree(self, root: int, prefix: str, *, with_root: bool = True) -> None:
        """Add the directory `root` and everything below it. Names are `prefix` and the path below the root."""
        if with_root:
            found = os.fstat(root)
            name = f"{prefix.rstrip('/')}/"
            self._add_entry(name, found, _xattrs(f"/proc/self/fd/{root}"))
        base = f"{prefix.rstrip('/')}/" if prefix else ""
        pending = [""]
        while pending:
            folder = pending.pop()
            pending += reversed(self._add_children(root, folder, base))

    def _add_children(self, root: int, folder: str, base: str) -> list[str]:
        """Add a directory's files. Returns the paths of the directories among them."""
        try:
            directory = open_in_root(root, folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return []  # it was removed meanwhile
        directories = []
        try:
            if self._as_layer and folder and _is_opaque(directory):
                self._output.add(_empty(f"{base}{folder}/{_OPAQUE}"))
            for name in sorted(item.name for item in os.scandir(directory)):
                path = f"{folder}/{name}" if folder else name
                with contextlib.suppress(FileNotFoundError):
                    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                    if self._skip(path, found):
                        continue
                    self._add(directory, name, f"{base}{path}", found)
                    if stat.S_ISDIR(found.st_mode):
                        directories.append(path)
        finally:
            os.close(directory)
        return directories

    def _add(self, parent: int, base: str, name: str, found: os.stat_result) -> None:
        if self._as_layer and stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
            folder, _, last = name.rpartition("/")
            self._output.add(_empty(f"{folder}/{_WHITEOUT}{last}" if folder else f"{_WHITEOUT}{last}"))
        elif stat.S_ISREG(found.st_mode):
            self._add_regular(parent, base, name)
        elif stat.S_ISLNK(found.st_mode):
            self._add_entry(name, found, {}, os.readlink(base, dir_fd=parent))
        elif stat.S_ISDIR(found.st_mode):
            self._add_entry(f"{name}/", found, _xattrs(f"/proc/self/fd/{parent}/{base}"))
        else:
            self._add_entry(name, found, {})

    def _add_regular(self, parent: int, base: str, name: str) -> None:
        content = os.open(base, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        try:
            found = os.fstat(content)
            if not stat.S_ISREG(found.st_mode):
                return  # replaced meanwhile
            info = entry(name, found, _xattrs(content))
            if info is None:
                return
            first = self._names_by_inode.setdefault((found.st_dev, found.st_ino), name) if found.st_nlink > 1 else name
            if first != name:
                info.type, info.linkname, info.size = tarfile.LNKTYPE, first, 0
                self._output.add(info)
            else:
                self._output.add(info, content)
        finally:
            os.close(content)

    def _add_entry(self, name: str, found: os.stat_result, xattrs: dict[str, bytes], link: str = "") -> None:
        info = entry(name, found, xattrs, link)
        if info is not None:
            self._output.add(info)


def _empty(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode = 0o600
    return info


def _is_opaque(directory: int) -> bool:
    with contextlib.suppress(OSError):
        return os.getxattr(directory, _OPAQUE_XATTR) == b"y"
    return False


def _xattrs(file: int | str) -> dict[str, bytes]:
    """The extended attributes that an archive keeps."""
    with contextlib.suppress(OSError):
        return {
            key: os.getxattr(file, key)
            for key in os.listxattr(file)
            if key == "security.capability" or key.startswith("user.")
        }
    return {}
