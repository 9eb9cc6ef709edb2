"""Root directory of a container as a descriptor: of a running one as given, of a stopped one mounted for this process alone.

Runs in the worker process. Invariant: a stopped container's file systems are mounted in a mount namespace that ends with
the process.
"""

import ctypes
import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from agent.filesystem.protocol import FileRequest, StoppedView, ViewMount
from agent.image.content.linux_syscalls import open_in_root
from agent.runtime import mounts, rootfs, rootfs_paths
from covey.errors import UnavailableError

_CLONE_NEWNS = 0x20000
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """End this process when the daemon ends, however that ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def open_root(request: FileRequest) -> int:
    """The container's root directory, with everything that is mounted in it."""
    if request.stopped is None:
        return request.root_fd
    enter_private_namespace()
    return _mount_stopped(request.stopped)


def enter_private_namespace() -> None:
    """Give this process a mount namespace of its own, from which nothing returns to the host."""
    if _libc.unshare(_CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot make a mount namespace: {os.strerror(number)}")
    mounts.change_propagation("/", mounts.MS_PRIVATE | mounts.MS_REC)


def _mount_stopped(view: StoppedView) -> int:
    for target in mounts.mount_points_below(Path(view.hidden_below)):
        mounts.unmount(target)
    merged = rootfs.mount_overlay([Path(layer) for layer in view.layers], Path(view.folder))
    root = os.open(merged, os.O_PATH | os.O_DIRECTORY)
    made = _make_targets(root, view.mounts)
    if view.read_only:
        mounts.remount_read_only(str(merged))
    for mount, target in made:
        _bind(root, mount, target)
    return root


def _make_targets(root: int, wanted: Sequence[ViewMount]) -> list[tuple[ViewMount, str]]:
    """Create the missing mount points, parents first. Returns each mount with its path."""
    result = []
    for mount in sorted(wanted, key=lambda item: item.target.count("/")):
        try:
            os.close(open_in_root(root, mount.target, os.O_PATH))
        except FileNotFoundError:
            _make_target(root, mount)
        result.append((mount, mount.target))
    return result


def _make_target(root: int, mount: ViewMount) -> None:
    parent = os.open(".", os.O_PATH | os.O_DIRECTORY, dir_fd=root)
    is_directory = Path(mount.source).is_dir()
    *parts, last = PurePosixPath(mount.target).parts[1:]
    for depth, part in enumerate((*parts, last)):
        path = "/".join((*parts, last)[: depth + 1])
        try:
            child = open_in_root(root, path, os.O_PATH)
        except FileNotFoundError:
            if depth < len(parts) or is_directory:
                os.mkdir(part, 0o755, dir_fd=parent)
            else:
                os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o755, dir_fd=parent))
            child = open_in_root(root, path, os.O_PATH)
        os.close(parent)
        parent = child
    os.close(parent)


def _bind(root: int, mount: ViewMount, target: str) -> None:
    try:
        place = open_in_root(root, target, os.O_PATH)
    except OSError as error:
        raise UnavailableError(f"cannot show the mount at {target}: {error.strerror}") from None
    source = mount.source
    try:
        if mount.subpath:
            below = os.open(mount.source, os.O_PATH | os.O_DIRECTORY)
            source = f"/proc/self/fd/{rootfs_paths.open_beneath(below, mount.subpath)}"
        source_is_directory = stat.S_ISDIR(Path(source).stat().st_mode)
        if source_is_directory != stat.S_ISDIR(os.fstat(place).st_mode):
            return
        path = str(Path(f"/proc/self/fd/{place}").readlink())
    finally:
        os.close(place)
    mounts.mount(source, path, "", mounts.MS_BIND | mounts.MS_REC)
    if mount.read_only:
        mounts.remount_read_only(path)
