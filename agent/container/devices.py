"""Device nodes of a container, looked up in the host's /dev.

Invariant: a path that is not a device node on this host is refused. Called by `agent.container.bundle`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from agent.container.model import ContainerConfig, DeviceMapping
from agent.runtime.oci_spec import DeviceNode
from covey.errors import InvalidArgumentError

_SKIPPED = frozenset({"pts", "shm", "mqueue", "fd", "console"})
"""Entries of /dev that every container has of its own."""


def device_nodes(config: ContainerConfig) -> list[DeviceNode]:
    """The devices that the configuration maps, or all of the host's for a privileged container."""
    if config.privileged:
        return [_device_node(DeviceMapping(host_path=str(path))) for path in _host_devices()]
    return [_device_node(device) for device in config.devices]


def block_device_numbers(paths: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Major and minor numbers of the devices whose I/O is limited."""
    numbers = {}
    for path in paths:
        try:
            device = Path(path).stat().st_rdev
        except OSError as error:
            raise InvalidArgumentError(f"device {path}: {error.strerror} on this host") from None
        numbers[path] = (os.major(device), os.minor(device))
    return numbers


def _host_devices() -> list[Path]:
    found: list[Path] = []
    for folder, names, files in os.walk("/dev"):
        names[:] = [name for name in names if name not in _SKIPPED]
        found += [Path(folder, file) for file in files if file not in _SKIPPED]
    return [path for path in found if path.is_char_device() or path.is_block_device()]


def _device_node(device: DeviceMapping) -> DeviceNode:
    try:
        info = Path(device.host_path).stat()
    except OSError as error:
        raise InvalidArgumentError(f"device {device.host_path}: {error.strerror} on this host") from None
    is_char = stat.S_ISCHR(info.st_mode)
    if not (is_char or stat.S_ISBLK(info.st_mode)):
        raise InvalidArgumentError(f"device {device.host_path} is not a device node")
    return DeviceNode(
        path=device.container_path or device.host_path,
        kind="c" if is_char else "b",
        major=os.major(info.st_rdev),
        minor=os.minor(info.st_rdev),
        mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        permissions=device.permissions,
    )
