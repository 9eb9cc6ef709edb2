"""Paths that the daemon and the runtime make in every container. They are no change that the user made. Pure."""

import stat

MOUNT_POINTS = frozenset(
    {
        ".dockerenv", "dev/console", "dev/mqueue", "dev/pts", "dev/shm", "etc/hostname", "etc/hosts", "etc/mtab",
        "etc/resolv.conf", "sbin/docker-init", "sys/fs/cgroup",
    }
)  # fmt: skip
TOP_DIRECTORIES = frozenset({"dev", "proc", "sys"})


def is_runtime_path(path: str, mode: int, size: int, *, in_image: bool) -> bool:
    """Whether the runtime made the path, relative to the root. `in_image` says whether a layer of the image has it."""
    if path in MOUNT_POINTS:
        kind_fits = stat.S_ISDIR(mode) or stat.S_ISLNK(mode) or (stat.S_ISREG(mode) and not size)
        return kind_fits and not in_image
    return path in TOP_DIRECTORIES and stat.S_ISDIR(mode) and not in_image
