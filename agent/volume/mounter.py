"""Mounts of volumes with driver options: mount(2), loop devices, and server names.

Invariant: nothing is left behind by a mount that failed; a loop device goes with its mount.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
from pathlib import Path

from agent.runtime import mounts
from agent.volume.driver_options import VolumeMount
from covey.errors import CoveyError, InvalidArgumentError

_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LO_FLAGS_READ_ONLY, _LO_FLAGS_AUTOCLEAR = 1, 4
_LOOP_ATTEMPTS = 16
_LOOP_INFO_BYTES = 232
_LOOP_FLAGS_OFFSET = 52
_MS_RDONLY = 1


def mount_volume(plan: VolumeMount, target: Path) -> None:
    """Mount at `target`. Raises CoveyError in Docker's words. May block for as long as a server does."""
    try:
        _mount(plan, target)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise CoveyError(
            f"error while mounting volume '{target}': failed to mount local volume: "
            f"mount {plan.device}:{target}{_flags_text(plan)}{f', data: {plan.data}' if plan.data else ''}: {reason}"
        ) from None


def _mount(plan: VolumeMount, target: Path) -> None:
    data = plan.data
    if plan.is_remote and plan.server:
        address = socket.getaddrinfo(plan.server, None, proto=socket.IPPROTO_TCP)[0][4][0]
        data = data.replace(f"addr={plan.server}", f"addr={address}")
    if plan.is_bind:
        if not Path(plan.device).exists():
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        mounts.mount(plan.device, str(target), "", plan.flags, data)
        if plan.flags & _MS_RDONLY:
            mounts.remount_read_only(str(target))
        return
    if not plan.loop and not _is_image_file(plan.device):
        mounts.mount(plan.device, str(target), plan.fs_type, plan.flags, data)
        return
    device = _attach_loop(plan.device, read_only=bool(plan.flags & _MS_RDONLY))
    try:
        mounts.mount(f"/dev/loop{os.minor(os.fstat(device).st_rdev)}", str(target), plan.fs_type, plan.flags, data)
    finally:
        os.close(device)  # the device goes with its last user: now, if the mount failed


def _is_image_file(device: str) -> bool:
    """Whether a file system is in a regular file, as mount(8) recognizes it too."""
    try:
        return stat.S_ISREG(Path(device).stat().st_mode)
    except OSError:
        return False


def _attach_loop(path: str, *, read_only: bool) -> int:
    """A free loop device with the file behind it, as an open descriptor. The kernel frees it with its last user."""
    access = os.O_RDONLY if read_only else os.O_RDWR
    backing = os.open(path, access | os.O_CLOEXEC)
    try:
        for _ in range(_LOOP_ATTEMPTS):
            control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
            try:
                number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
            finally:
                os.close(control)
            device = os.open(_loop_node(number), access | os.O_CLOEXEC)
            info = bytearray(_LOOP_INFO_BYTES)
            struct.pack_into(
                "=I", info, _LOOP_FLAGS_OFFSET, _LO_FLAGS_AUTOCLEAR | (_LO_FLAGS_READ_ONLY if read_only else 0)
            )
            config = struct.pack("=II", backing, 0) + bytes(info) + bytes(64)
            try:
                fcntl.ioctl(device, _LOOP_CONFIGURE, config)
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:  # another process took it first
                    raise
                continue
            return device
    finally:
        os.close(backing)
    raise InvalidArgumentError(
        f"no free loop device for {path}: detach some (losetup -d), or load the module with more"
    )


def _loop_node(number: int) -> str:
    """The device file, which is made where nobody else does it."""
    path = Path(f"/dev/loop{number}")
    if not path.exists():
        os.mknod(path, stat.S_IFBLK | 0o660, os.makedev(7, number))
    return str(path)


def _flags_text(plan: VolumeMount) -> str:
    return f", flags: {plan.flags:#x}" if plan.flags else ""
