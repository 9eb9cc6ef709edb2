"""Namespace modes of a new container (`IpcMode`, `PidMode`, `UTSMode`, `UsernsMode`, `CgroupnsMode`)."""

from typing import Any

from covey.errors import InvalidArgumentError
from engine.translate.json_fields import JsonFields

HOST = "host"
_IPC = frozenset({"", "none", "private", "shareable", HOST})


def read_namespaces(fields: JsonFields, *, hostname: str) -> dict[str, Any]:
    """The fields of the container's configuration. ``hostname`` is the one that the user gave."""
    ipc, pid, uts = fields.text("IpcMode"), fields.text("PidMode"), fields.text("UTSMode")
    userns, cgroupns = fields.text("UsernsMode"), fields.text("CgroupnsMode")
    if ipc not in _IPC and not _is_container(ipc):
        raise InvalidArgumentError(f"Invalid IPC mode: {ipc}")
    if pid not in {"", "host"} and not _is_container(pid):
        raise InvalidArgumentError(f"invalid PID mode: {pid}")
    if uts not in {"", "host"}:
        raise InvalidArgumentError(f"invalid UTS mode: {uts}")
    if uts == "host" and hostname:
        raise InvalidArgumentError("conflicting options: hostname and the UTS mode")
    if userns not in {"", "host"}:
        raise InvalidArgumentError(f"invalid user namespace mode: {userns}")
    if cgroupns not in {"", "host", "private"}:
        raise InvalidArgumentError(f"invalid cgroup namespace mode: {cgroupns}")
    if fields.text("Cgroup"):
        raise InvalidArgumentError(f"invalid cgroup spec: {fields.text('Cgroup')}")
    return {
        "ipc_mode": ipc,
        "pid_mode": pid,
        "uts_mode": uts,
        "userns_mode": userns,
        "cgroupns_mode": cgroupns,
    }


def _is_container(mode: str) -> bool:
    kind, _, ref = mode.partition(":")
    return kind == "container" and bool(ref)
