"""Shared memory of a container whose IPC namespace others may join: a tmpfs on the host, below the container's folder.

Invariant: it is mounted for one run and unmounted with the container's root. Called by `agent.container.bundle`.
"""

from __future__ import annotations

from pathlib import Path

from agent.runtime import mounts


def folder(container_folder: Path) -> Path:
    """Where the tmpfs of the container is mounted."""
    return container_folder / "shm"


def mount(container_folder: Path, size_bytes: int) -> Path:
    """Mount an empty tmpfs and return its path."""
    path = folder(container_folder)
    mounts.unmount(str(path))
    path.mkdir(mode=0o700, exist_ok=True)
    flags = mounts.MS_NOSUID | mounts.MS_NOEXEC | mounts.MS_NODEV
    mounts.mount("shm", str(path), "tmpfs", flags, f"mode=1777,size={size_bytes}")
    return path


def unmount(container_folder: Path) -> None:
    """Unmount it; no error if it is not mounted."""
    path = folder(container_folder)
    if path.is_dir():
        mounts.unmount(str(path))
