"""Attributes of a layer's entries: times, extended attributes, whiteouts. Runs in the unpack processes only."""

import contextlib
import os
import stat
import tarfile
from collections.abc import Iterator

WHITEOUT_DEVICE = os.makedev(0, 0)
_XATTR_HEADER = "SCHILY.xattr."


@contextlib.contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close a file descriptor at the end of the block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def lstat_or_none(parent: int, name: str) -> os.stat_result | None:
    """What is there under a name, None for nothing."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_whiteout(found: os.stat_result) -> bool:
    """Whether a file hides the one below it, as overlayfs reads it."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == WHITEOUT_DEVICE


def entry_times(member: tarfile.TarInfo) -> tuple[int, int]:
    """Access and modification time in nanoseconds, within what the kernel takes."""
    nanoseconds = min(max(int(member.mtime * 1_000_000_000), 0), (1 << 63) - 1)
    return nanoseconds, nanoseconds


def entry_xattrs(member: tarfile.TarInfo) -> Iterator[tuple[str, bytes]]:
    """The extended attributes to set. `trusted.*` is excluded, because overlayfs would interpret it."""
    for header, value in member.pax_headers.items():
        key = header.removeprefix(_XATTR_HEADER)
        if key != header and (key == "security.capability" or key.startswith("user.")):
            yield key, value.encode("utf-8", "surrogateescape")
