"""Devices, ulimits and storage options of a new container."""

from typing import Any

from agent.container.model import ContainerUlimit, DeviceMapping
from covey.errors import InvalidArgumentError, UnsupportedError
from covey.ulimits import check_ulimit
from engine.translate.field_table import INTEGER, TEXT, FieldTable, Row
from engine.translate.json_fields import JsonFields

ULIMIT = FieldTable(
    ContainerUlimit,
    (
        Row(key="Name", field="name", codec=TEXT, always=True),
        Row(key="Hard", field="hard", codec=INTEGER, always=True),
        Row(key="Soft", field="soft", codec=INTEGER, always=True),
    ),
)
DEVICE = FieldTable(
    DeviceMapping,
    (
        Row(key="PathOnHost", field="host_path", codec=TEXT, always=True),
        Row(key="PathInContainer", field="container_path", codec=TEXT, always=True),
        Row(key="CgroupPermissions", field="permissions", codec=TEXT, always=True),
    ),
)


def read_devices(fields: JsonFields) -> dict[str, Any]:
    """The fields of the container's configuration."""
    _refuse_device_requests(fields)
    options = fields.text_map("StorageOpt")
    for name in options:
        if name != "size":
            raise InvalidArgumentError(f"Unknown option {name}")
    shm_size = fields.number("ShmSize")
    if shm_size < 0:
        raise InvalidArgumentError("SHM size can not be less than 0")
    mapped = fields.read_all("Devices", DEVICE.read)
    for device in mapped:
        if not device.host_path or not set(device.permissions) <= set("rwm"):
            raise InvalidArgumentError(f"invalid device: {device.host_path}: it needs a path and a mode of r, w and m")
    ulimits = fields.read_all("Ulimits", ULIMIT.read)
    for limit in ulimits:
        check_ulimit(limit.name, limit.soft, limit.hard)
    return {
        "devices": mapped,
        "device_cgroup_rules": fields.text_list("DeviceCgroupRules"),
        "ulimits": ulimits,
        "storage_options": options,
        **({"shm_size_bytes": shm_size} if shm_size else {}),
    }


def _refuse_device_requests(fields: JsonFields) -> None:
    """GPUs need a hook of the runtime, which no supported runtime has."""

    def read(request: JsonFields) -> str:
        request.number("Count")
        request.text_list("DeviceIDs")
        request.text_map("Options")
        groups = request.raw("Capabilities") or []
        words = " ".join(f"[{' '.join(map(str, group))}]" for group in groups if isinstance(group, list))
        return f'could not select device driver "{request.text("Driver")}" with capabilities: [{words}]'

    for sentence in fields.read_all("DeviceRequests", read):
        raise UnsupportedError(f"{sentence}: this host has no device driver")
