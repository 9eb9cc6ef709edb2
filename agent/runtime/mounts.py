"""mount(2) and umount2(2) through ctypes, and the mount table in /proc/self/mountinfo.

Invariant: no mount program is run. Called for root filesystems of containers, the tmpfs of secrets, cgroup detection,
and the removal of leftovers.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import NamedTuple

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


class MountPoint(NamedTuple):
    target: str
    fs_type: str
    source: str
    options: str
    root: str
    peers: str = ""
    """Propagation: `shared:N`, `master:N`, or "" for a private mount."""


def mount(source: str, target: str, fs_type: str, flags: int = 0, data: str = "") -> None:
    code = _libc.mount(
        os.fsencode(source), os.fsencode(target), os.fsencode(fs_type), ctypes.c_ulong(flags), os.fsencode(data)
    )
    if code != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount {fs_type or source} at {target}: {os.strerror(number)}")


def change_propagation(target: str, flags: int) -> None:
    """Set the propagation of a mount: MS_PRIVATE, with MS_REC for the mounts below it too."""
    mount("none", target, "", flags)


def remount_read_only(target: str) -> None:
    """Make one mount read-only. Its other flags stay, because the kernel may have locked them."""
    flags = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("none", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY | flags)


def unmount(target: str) -> None:
    """Detach the mount; processes that use it keep it until they are done. No error if nothing is mounted there."""
    if _libc.umount2(os.fsencode(target), _MNT_DETACH) != 0:
        number = ctypes.get_errno()
        if number not in {22, 2}:  # EINVAL: not a mount point; ENOENT: gone
            raise OSError(number, f"cannot unmount {target}: {os.strerror(number)}")


def parse_mountinfo(text: str) -> list[MountPoint]:
    """The lines of /proc/self/mountinfo, in mount order."""
    points = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, rest = left.split(" "), right.split(" ")
        options, peers = rest[2] if len(rest) > 2 else "", " ".join(fields[6:])
        points.append(MountPoint(_unescape(fields[4]), rest[0], rest[1], options, fields[3], peers))
    return points


def list_mounts() -> list[MountPoint]:
    return parse_mountinfo(Path("/proc/self/mountinfo").read_text())


def is_mount_point(path: Path) -> bool:
    """Whether something is mounted at the path, also a bind from the same file system, which `Path.is_mount` does not see."""
    try:
        return _mount_id(path) != _mount_id(path.parent)
    except FileNotFoundError:
        return False


def _mount_id(path: Path) -> str:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    finally:
        os.close(fd)
    return next(line for line in lines if line.startswith("mnt_id:"))


def mount_of(path: Path, points: list[MountPoint]) -> MountPoint | None:
    """The mount that a path without symlinks is on: the deepest, and of those at one place the last."""
    text = f"{path}/"
    found = None
    for point in points:
        prefix = point.target if point.target.endswith("/") else f"{point.target}/"
        if text.startswith(prefix) and (found is None or len(point.target) >= len(found.target)):
            found = point
    return found


def mount_points_below(folder: Path) -> list[str]:
    """Mount points below the directory, the most recent mount first."""
    prefix = f"{folder}/"
    return [point.target for point in reversed(list_mounts()) if point.target.startswith(prefix)]


def _unescape(text: str) -> str:
    return text.encode().decode("unicode_escape").encode("latin-1").decode() if "\\" in text else text
