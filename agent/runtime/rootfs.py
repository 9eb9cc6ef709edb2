"""Root filesystem of a container: an overlayfs of the image's layers and the container's writable layer.

Invariant: the layers are never written to. Mounting is one system call (under a millisecond). If the paths of the layers
exceed the page that mount(2) takes, they are passed as descriptors. Called by `agent.container.bundle`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from agent.runtime import mounts
from covey.errors import InvalidArgumentError

_OPTION_LIMIT = 4095
_LAYER_LIMIT = 200


def mount_overlay(layers: Sequence[Path], folder: Path) -> Path:
    """Mount `layers` (base first) below folder/upper at folder/merged and return the mount point.

    Keeps a mount that is already there.
    """
    upper, work, merged = folder / "upper", folder / "work", folder / "merged"
    for path in (upper, work, merged):
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    work.chmod(0o700)
    if merged.is_mount():
        return merged
    if len(layers) > _LAYER_LIMIT:
        raise InvalidArgumentError(f"the image has {len(layers)} layers: at most {_LAYER_LIMIT} can be mounted")
    if not layers:
        (folder / "empty").mkdir(exist_ok=True)
        layers = [folder / "empty"]
    lower = [_escape(str(layer)) for layer in reversed(layers)]
    data = _options(lower, upper, work)
    fds: list[int] = []
    try:
        if len(os.fsencode(data)) > _OPTION_LIMIT:
            fds = [os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for layer in reversed(layers)]
            data = _options([f"/proc/self/fd/{fd}" for fd in fds], upper, work)
        mounts.mount("overlay", str(merged), "overlay", 0, data)
    finally:
        for fd in fds:
            os.close(fd)
    return merged


def unmount(folder: Path) -> None:
    """Unmount the root. The container's writable layer stays in folder/upper."""
    merged = folder / "merged"
    while merged.is_mount():
        mounts.unmount(str(merged))


def _options(lower: Sequence[str], upper: Path, work: Path) -> str:
    return f"lowerdir={':'.join(lower)},upperdir={_escape(str(upper))},workdir={_escape(str(work))}"


def _escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
