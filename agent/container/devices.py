"""Device nodes of a container, looked up in the host's /dev.

Invariant: a path that is not a device node on this host is refused. Called by `agent.container.bundle`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from agent.container.model import ContainerConfig, DeviceMapping
from agent.runtime.oci_spec import DeviceNode
from covey.errors import InvalidArgumentError

_SKIPPED = frozenset({"pts", "shm", "mqueue", "fd", "console"})
"""Entries of /dev that every container has of its own."""


def device_nodes(config: ContainerConfig) -> list[DeviceNode]:
    """The devices that the configuration maps, and for a privileged container all of the host's."""
    all_of_host = _host_devices(Path("/dev")) if config.privileged else []
    nodes = [_device_node(DeviceMapping(host_path=str(path))) for path in all_of_host]
    nodes += [node for device in config.devices for node in _mapped(device)]
    return list({node.path: node for node in nodes}.values())


def _mapped(device: DeviceMapping) -> list[DeviceNode]:
    """The device of a mapping, or all devices below a directory, which keep their names."""
    folder = Path(device.host_path)
    if not folder.is_dir():
        return [_device_node(device)]
    target = PurePosixPath(device.container_path or device.host_path)
    found = _host_devices(folder)
    if not found:
        raise InvalidArgumentError(f"device {device.host_path}: the directory has no device nodes on this host")
    return [
        _device_node(
            DeviceMapping(
                host_path=str(path),
                container_path=str(target / path.relative_to(folder)),
                permissions=device.permissions,
            )
        )
        for path in found
    ]


def block_device_numbers(paths: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Major and minor numbers of the devices whose I/O is limited."""
    numbers = {}
    for path in paths:
        try:
            info = Path(path).stat()
        except OSError as error:
            raise InvalidArgumentError(f"device {path}: {error.strerror} on this host") from None
        if not stat.S_ISBLK(info.st_mode):
            raise InvalidArgumentError(f"device {path} is not a block device")
        device = info.st_rdev
        numbers[path] = (os.major(device), os.minor(device))
    return numbers


def _host_devices(root: Path) -> list[Path]:
    """The device nodes below a directory, without those that every container has of its own."""
    found: list[Path] = []
    for folder, names, files in os.walk(root):
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
