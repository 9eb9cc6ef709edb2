"""OCI runtime specification (config.json) of a container, with Docker's defaults for mounts, devices and masked paths.

Invariant: pure, and free of Docker's and Covey's configuration: `OciContainer` and `OciProcess` hold resolved values only
(user ids, device numbers, the seccomp section, paths on the host). `agent.container.oci` builds them from a
`ContainerConfig`; `agent.container.bundle` writes the result to disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from agent.runtime.limits import ResourceLimits, oci_resources
from agent.runtime.users import ProcessUser

INIT_TARGET = "/sbin/docker-init"
_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
_READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class BindMount(NamedTuple):
    """A path of the host mounted in the container."""

    source: str
    target: str
    read_only: bool = False
    propagation: str = "rprivate"


class TmpfsMount(NamedTuple):
    target: str
    options: tuple[str, ...]


class DeviceNode(NamedTuple):
    """A device that the runtime creates in the container, and `permissions` ("rwm") on it."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    permissions: str


class Rlimit(NamedTuple):
    """`name` as in `ulimit`, for example "nofile"."""

    name: str
    soft: int
    hard: int


class OciProcess(NamedTuple):
    """A process in a container: its first process, or an exec."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: ProcessUser
    bounding: tuple[str, ...]
    """The capability bounding set; a process that runs as root has all of it."""
    terminal: bool = False
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    oom_score_adj: int = 0


class OciContainer(NamedTuple):
    """Everything that the specification of one container states.

    `network_namespace` is "" for a new one, None for the host's, or the path of an existing one. `hostname` and
    `domainname` apply unless `host_uts` is set.
    """

    container_id: str
    process: OciProcess
    rootfs: str
    cgroup_path: str
    hostname: str
    domainname: str = ""
    read_only: bool = False
    privileged: bool = False
    seccomp: dict[str, Any] | None = None
    network_namespace: str | None = ""
    host_pid: bool = False
    host_ipc: bool = False
    host_uts: bool = False
    sysctls: Mapping[str, str] = {}
    shm_size_bytes: int = 64 << 20
    limits: ResourceLimits = ResourceLimits()
    binds: tuple[BindMount, ...] = ()
    tmpfs: tuple[TmpfsMount, ...] = ()
    devices: tuple[DeviceNode, ...] = ()
    init_path: str = ""
    """An init program of the host that becomes the first process; "" for none."""
    swap_limits: bool = False
    cgroup_version: int = 1


def container_spec(container: OciContainer) -> dict[str, Any]:
    """The complete config.json."""
    process = container.process
    if container.init_path:
        process = process._replace(args=(INIT_TARGET, "--", *process.args))
    spec: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": process_spec(process),
        "root": {"path": container.rootfs, "readonly": container.read_only},
        "mounts": _mounts(container),
        "linux": _linux(container),
        "annotations": {"covey.container": container.container_id},
    }
    if not container.host_uts:
        spec["hostname"] = container.hostname
    return spec


def process_spec(process: OciProcess) -> dict[str, Any]:
    """The `process` section; alone, the process document of an exec."""
    bounding = list(process.bounding)
    effective = bounding if process.user.uid == 0 else []
    user = process.user
    return {
        "terminal": process.terminal,
        "args": list(process.args),
        "env": list(process.env),
        "cwd": process.cwd or "/",
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "capabilities": {"bounding": bounding, "effective": effective, "permitted": effective},
        "rlimits": [{"type": f"RLIMIT_{r.name.upper()}", "soft": r.soft, "hard": r.hard} for r in process.rlimits],
        "noNewPrivileges": process.no_new_privileges,
        "oomScoreAdj": process.oom_score_adj,
    }


def is_propagation(text: str) -> bool:
    """Whether it is a mount propagation mode of the specification."""
    return text in _PROPAGATIONS


def _mounts(container: OciContainer) -> list[dict[str, Any]]:
    """Docker's default mounts, replaced by the container's own at the same target; parents before children."""
    own = [_bind(bind) for bind in container.binds]
    own += [_mount(t.target, "tmpfs", "tmpfs", list(t.options)) for t in container.tmpfs]
    if container.init_path:
        own.append(_bind(BindMount(container.init_path, INIT_TARGET, read_only=True)))
    taken = {m["destination"] for m in own}
    defaults = [m for m in _default_mounts(container) if m["destination"] not in taken]
    return defaults + sorted(own, key=lambda m: m["destination"].count("/"))


def _default_mounts(container: OciContainer) -> list[dict[str, Any]]:
    safe = ["nosuid", "noexec", "nodev"]
    access = [] if container.privileged else ["ro"]
    shm = [*safe, "mode=1777", f"size={container.shm_size_bytes}"]
    ipc = (
        [_bind(BindMount("/dev/shm", "/dev/shm")), _bind(BindMount("/dev/mqueue", "/dev/mqueue"))]  # noqa: S108
        if container.host_ipc
        else [_mount("/dev/shm", "tmpfs", "shm", shm), _mount("/dev/mqueue", "mqueue", "mqueue", safe)]  # noqa: S108
    )
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    return [
        _mount("/proc", "proc", "proc", safe),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", pts),
        *ipc,
        _mount("/sys", "sysfs", "sysfs", [*safe, *access]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*safe, *access, "relatime"]),
    ]


def _mount(target: str, fs_type: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": target, "type": fs_type, "source": source, "options": options}


def _bind(bind: BindMount) -> dict[str, Any]:
    options = ["rbind", bind.propagation or "rprivate", "ro" if bind.read_only else "rw"]
    return _mount(bind.target, "bind", bind.source, options)


def _linux(container: OciContainer) -> dict[str, Any]:
    linux: dict[str, Any] = {
        "cgroupsPath": container.cgroup_path,
        "namespaces": _namespaces(container),
        "resources": {
            "devices": _device_rules(container),
            **oci_resources(container.limits, swap_limits=container.swap_limits),
        },
        "sysctl": _sysctls(container),
        "devices": [_device(device) for device in container.devices],
    }
    if not container.privileged:
        linux["maskedPaths"] = list(_MASKED_PATHS)
        linux["readonlyPaths"] = list(_READ_ONLY_PATHS)
    if container.seccomp is not None:
        linux["seccomp"] = container.seccomp
    propagations = {bind.propagation for bind in container.binds}
    if propagations & {"shared", "rshared"}:
        linux["rootfsPropagation"] = "shared"
    elif propagations & {"slave", "rslave"}:
        linux["rootfsPropagation"] = "rslave"
    return linux


def _namespaces(container: OciContainer) -> list[dict[str, str]]:
    namespaces = [{"type": "mount"}]
    path = container.network_namespace
    if path is not None:
        namespaces.append({"type": "network", "path": path} if path else {"type": "network"})
    if not container.host_uts:
        namespaces.append({"type": "uts"})
    if not container.host_pid:
        namespaces.append({"type": "pid"})
    if not container.host_ipc:
        namespaces.append({"type": "ipc"})
    if container.cgroup_version == 2 and not container.privileged:
        namespaces.append({"type": "cgroup"})
    return namespaces


def _sysctls(container: OciContainer) -> dict[str, str]:
    values: dict[str, str] = {}
    if container.network_namespace is not None:
        values["net.ipv4.ip_unprivileged_port_start"] = "0"
        values["net.ipv4.ping_group_range"] = "0 2147483647"
    if container.domainname and not container.host_uts:
        values["kernel.domainname"] = container.domainname
    return {**values, **container.sysctls}


def _device(device: DeviceNode) -> dict[str, Any]:
    return {
        "path": device.path,
        "type": device.kind,
        "major": device.major,
        "minor": device.minor,
        "fileMode": device.mode,
        "uid": device.uid,
        "gid": device.gid,
    }


def _device_rules(container: OciContainer) -> list[dict[str, Any]]:
    if container.privileged:
        return [{"allow": True, "access": "rwm"}]
    return [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "b", "access": "m"},
        *(
            {"allow": True, "type": d.kind, "major": d.major, "minor": d.minor, "access": d.permissions}
            for d in container.devices
        ),
    ]
