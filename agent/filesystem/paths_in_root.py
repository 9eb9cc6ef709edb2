"""Paths inside a container's root: resolution as Docker's archive endpoints do it, and what they tell of a path.

Runs in the worker process. The last component of a path is not followed, unless a slash or `/.` follows it.
"""

import os
import posixpath
import stat
from pathlib import Path
from typing import NamedTuple

from agent.filesystem.protocol import PathStat
from agent.image.content.linux_syscalls import open_in_root
from covey.errors import InvalidArgumentError, NotFoundError

_LINK_LIMIT = 40
_GO_KINDS = (
    (stat.S_ISDIR, 1 << 31),
    (stat.S_ISLNK, 1 << 27),
    (stat.S_ISBLK, 1 << 26),
    (stat.S_ISCHR, 1 << 26 | 1 << 21),
    (stat.S_ISFIFO, 1 << 25),
    (stat.S_ISSOCK, 1 << 24),
)
_GO_BITS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


class RequestedPath(NamedTuple):
    """A path of a request: absolute and clean, `name` as its archive calls it, and whether a final symlink is followed."""

    path: str
    name: str
    follow: bool


class ResolvedPath(NamedTuple):
    """The descriptor (O_PATH) of a path, and what it is."""

    fd: int
    found: os.stat_result


def parse_path(path: str) -> RequestedPath:
    """The path that a client names. Pure."""
    clean = posixpath.normpath(f"/{path}").replace("//", "/")
    dotted = path.endswith("/.") or path == "."
    name = "." if dotted else posixpath.basename(clean) or "/"
    return RequestedPath(clean, name, path.endswith("/") or dotted or clean == "/")


def resolve(root: int, wanted: RequestedPath, container: str) -> ResolvedPath:
    """Open the path. Raises NotFoundError in Docker's words, or InvalidArgumentError if it leads through a file."""
    flags = os.O_PATH if wanted.follow else os.O_PATH | os.O_NOFOLLOW
    try:
        fd = open_in_root(root, wanted.path, flags)
    except FileNotFoundError:
        raise not_found(wanted.path, container) from None
    except OSError as error:
        raise InvalidArgumentError(f"lstat {wanted.path}: {(error.strerror or '').lower()}") from None
    found = os.fstat(fd)
    if wanted.follow and not stat.S_ISDIR(found.st_mode):
        os.close(fd)
        raise InvalidArgumentError(f"lstat {wanted.path}/: not a directory")
    return ResolvedPath(fd, found)


def not_found(path: str, container: str) -> NotFoundError:
    """The refusal of a path that does not exist."""
    return NotFoundError(f"Could not find the file {path} in container {container}")


def path_stat(root: int, wanted: RequestedPath, found: os.stat_result) -> PathStat:
    """What the header X-Docker-Container-Path-Stat tells."""
    target = link_target(root, wanted.path) if stat.S_ISLNK(found.st_mode) else ""
    name, target = (os.fsencode(text).decode("utf-8", "replace") for text in (wanted.name, target))
    return PathStat(name, found.st_size, go_mode(found.st_mode), found.st_mtime_ns, target)


def go_mode(mode: int) -> int:
    """The mode with the bits of Go's FileMode. Pure."""
    bits = stat.S_IMODE(mode) & 0o777
    bits |= next((bit for is_kind, bit in _GO_KINDS if is_kind(mode)), 0)
    return bits | sum(bit for unix, bit in _GO_BITS if mode & unix)


def link_target(root: int, path: str) -> str:
    """The absolute path that a symlink leads to. What does not exist is resolved as far as it goes."""
    for _ in range(_LINK_LIMIT):
        parent = _real_path(root, posixpath.dirname(path))
        path = posixpath.join(parent, posixpath.basename(path))
        try:
            fd = open_in_root(root, path, os.O_PATH | os.O_NOFOLLOW)
        except OSError:
            return path
        try:
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                return path
            path = posixpath.normpath(posixpath.join(parent, os.readlink("", dir_fd=fd)))
        finally:
            os.close(fd)
    raise InvalidArgumentError(f"too many levels of symbolic links at {path}")


def _real_path(root: int, path: str) -> str:
    """The path without symlinks; the path itself if it does not exist."""
    try:
        fd = open_in_root(root, path, os.O_PATH)
    except OSError:
        return path
    try:
        return relative_to_root(root, fd) or path
    finally:
        os.close(fd)


def relative_to_root(root: int, fd: int) -> str:
    """The absolute path inside the root of an open file below it; "" if it is not known."""
    top, path = (str(Path(f"/proc/self/fd/{number}").readlink()) for number in (root, fd))
    prefix = top.rstrip("/")
    if path in {top, prefix}:
        return "/"
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else ""
