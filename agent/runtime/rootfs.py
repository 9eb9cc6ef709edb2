"""Root filesystem of a container: an overlayfs of the image's layers and the container's writable layer.

Invariant: the layers are never written to. Mounting is one system call (under a millisecond). If the paths of the layers
exceed the page that mount(2) takes, they are relative to the directory that all of them are in. Called by
`agent.container.bundle` and by the worker process for container files.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from agent.layer_limit import LAYER_LIMIT
from agent.runtime import mounts
from covey.errors import InvalidArgumentError

_OPTION_LIMIT = 4095
_CLONE_FS = 0x200
_FEATURES = "index=off,redirect_dir=off,metacopy=off"
"""Features of overlayfs that would make the writable layer more than the changed files, which a commit reads."""

_libc = ctypes.CDLL(None, use_errno=True)


def mount_overlay(layers: Sequence[Path], folder: Path, label: str = "") -> Path:
    """Mount `layers` (base first) below folder/upper at folder/merged and return the mount point.

    With an SELinux `label` every file has it. Keeps a mount that is already there.
    """
    upper, work, merged = folder / "upper", folder / "work", folder / "merged"
    for path in (upper, work, merged):
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    work.chmod(0o700)
    if merged.is_mount():
        return merged
    if len(layers) > LAYER_LIMIT:
        raise InvalidArgumentError(f"the image has {len(layers)} layers: at most {LAYER_LIMIT} can be mounted")
    if not layers:
        (folder / "empty").mkdir(exist_ok=True)
        layers = [folder / "empty"]
    context = f',context="{label}"' if label else ""  # in quotes, because a label has commas
    _mount(layers, merged, f",upperdir={_escape(str(upper))},workdir={_escape(str(work))}{context}")
    return merged


def mount_image(layers: Sequence[Path], target: Path, empty: Path) -> None:
    """Mount an image's layers (base first) read-only. `empty` is an empty directory, because overlayfs wants two layers."""
    if len(layers) >= LAYER_LIMIT:
        raise InvalidArgumentError(f"the image has {len(layers)} layers: at most {LAYER_LIMIT - 1} can be mounted")
    for path in (target, empty):
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    if layers:
        _mount([*layers, empty], target, "")
    else:
        mounts.mount(str(empty), str(target), "", mounts.MS_BIND)


def _mount(layers: Sequence[Path], target: Path, upper: str) -> None:
    data = _options([_escape(str(layer)) for layer in reversed(layers)], upper)
    if len(os.fsencode(data)) <= _OPTION_LIMIT:
        mounts.mount("overlay", str(target), "overlay", 0, data)
    else:
        from concurrent.futures import ThreadPoolExecutor  # costs every other start of the file worker 10 ms

        with ThreadPoolExecutor(max_workers=1) as executor:
            executor.submit(_mount_relative, layers, target, upper).result()


def _mount_relative(layers: Sequence[Path], target: Path, upper: str) -> None:
    """Mount with short paths. Runs in a thread of its own, because it changes that thread's working directory."""
    if _libc.unshare(_CLONE_FS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount {len(layers)} layers: {os.strerror(number)}")
    here = os.path.commonpath(layers)
    os.chdir(here)
    data = _options([_escape(os.path.relpath(layer, here)) for layer in reversed(layers)], upper)
    if len(os.fsencode(data)) > _OPTION_LIMIT:
        raise InvalidArgumentError(f"the image has {len(layers)} layers, and their paths are too long to be mounted")
    mounts.mount("overlay", str(target), "overlay", 0, data)


def unmount(folder: Path) -> None:
    """Unmount the root. The container's writable layer stays in folder/upper."""
    merged = folder / "merged"
    while merged.is_mount():
        mounts.unmount(str(merged))


def _options(lower: Sequence[str], upper: str) -> str:
    return f"lowerdir={':'.join(lower)}{upper},{_FEATURES}"


def _escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
