"""OCI runtime specification (config.json) of a container, with Docker's defaults for mounts, devices and masked paths.

Invariant: pure, and free of Docker's and Covey's configuration: `OciContainer` and `OciProcess` hold resolved values only
(user ids, device numbers, the seccomp section, paths on the host). `agent.container.oci` builds them from a
`ContainerConfig`; `agent.container.bundle` writes the result to disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from agent.runtime.limits import ResourceLimits, oci_resources
from agent.runtime.users import ProcessUser

_INFINITY = (1 << 64) - 1
"""RLIM_INFINITY, which -1 stands for."""
INIT_TARGET = "/sbin/docker-init"
_SHM = "/dev/shm"  # noqa: S108  the path in the container
_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
MASKED_PATHS = (
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
READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class BindMount(NamedTuple):
    """A path of the host mounted in the container."""

    source: str
    target: str
    read_only: bool = False
    propagation: str = "rprivate"
    recursive: bool = True
    """Whether mounts below the source come with it."""
    read_only_recursive: bool = False
    """Whether mounts below the source are read-only too (Linux 5.12)."""


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


class DeviceRule(NamedTuple):
    """A device cgroup rule: `kind` is "a", "b" or "c"; None stands for every number."""

    kind: str
    major: int | None
    minor: int | None
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
    console_size: tuple[int, int] = (0, 0)
    """Height and width of the terminal at the start, 0 for the kernel's choice."""
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    oom_score_adj: int = 0
    selinux_label: str = ""


class OciContainer(NamedTuple):
    """Everything that the specification of one container states.

    Each `…_namespace` is "" for a new one, None for the host's, or the path of an existing one. `hostname` and
    `domainname` apply to a new UTS namespace. `masked_paths` and `read_only_paths` are None for Docker's defaults, which
    a privileged container does not have.
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
    pid_namespace: str | None = ""
    ipc_namespace: str | None = ""
    uts_namespace: str | None = ""
    cgroup_namespace: str | None = None
    sysctls: Mapping[str, str] = {}
    shm_size_bytes: int = 64 << 20
    shm_source: str | None = ""
    """A directory of the host that becomes /dev/shm, "" for a tmpfs of the container's own, None for no /dev/shm."""
    masked_paths: tuple[str, ...] | None = None
    read_only_paths: tuple[str, ...] | None = None
    device_rules: tuple[DeviceRule, ...] = ()
    apparmor_profile: str = ""
    mount_label: str = ""
    """The SELinux label of the files of mounts that the runtime makes, "" for none."""
    writable_cgroups: bool = False
    annotations: Mapping[str, str] = {}
    limits: ResourceLimits = ResourceLimits()
    binds: tuple[BindMount, ...] = ()
    tmpfs: tuple[TmpfsMount, ...] = ()
    devices: tuple[DeviceNode, ...] = ()
    init_path: str = ""
    """An init program of the host that becomes the first process; "" for none."""
    swap_limits: bool = False
    block_devices: Mapping[str, tuple[int, int]] = {}
    """Major and minor numbers of the block devices that `limits` name."""


def _for_new_group(limits: ResourceLimits) -> ResourceLimits:
    """The limits without the word for no limit of processes: a new cgroup has none, and crun does not know the word."""
    return msgspec.structs.replace(limits, pids_limit=max(limits.pids_limit, 0))


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
        "annotations": {**container.annotations, "covey.container": container.container_id},
    }
    if container.uts_namespace == "":
        spec["hostname"] = container.hostname
    if container.apparmor_profile:
        spec["process"]["apparmorProfile"] = container.apparmor_profile
    return spec


def process_spec(process: OciProcess) -> dict[str, Any]:
    """The `process` section; alone, the process document of an exec."""
    bounding = list(process.bounding)
    effective = bounding if process.user.uid == 0 else []
    user, (height, width) = process.user, process.console_size
    return {
        "terminal": process.terminal,
        **({"consoleSize": {"height": height, "width": width}} if process.terminal and height and width else {}),
        "args": list(process.args),
        "env": list(process.env),
        "cwd": process.cwd or "/",
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "capabilities": {"bounding": bounding, "effective": effective, "permitted": effective},
        "rlimits": [
            {"type": f"RLIMIT_{r.name.upper()}", "soft": r.soft & _INFINITY, "hard": r.hard & _INFINITY}
            for r in process.rlimits
        ],
        "noNewPrivileges": process.no_new_privileges,
        "oomScoreAdj": process.oom_score_adj,
        **({"selinuxLabel": process.selinux_label} if process.selinux_label else {}),
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
    cgroup_access = [] if container.writable_cgroups else access
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    return [
        _mount("/proc", "proc", "proc", safe),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", pts),
        *_ipc_mounts(container, safe),
        _mount("/sys", "sysfs", "sysfs", [*safe, *access]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*safe, *cgroup_access, "relatime"]),
    ]


def _ipc_mounts(container: OciContainer, safe: list[str]) -> list[dict[str, Any]]:
    """Mount /dev/shm and /dev/mqueue; the message queues are those of the IPC namespace, whichever it is."""
    queues = _mount("/dev/mqueue", "mqueue", "mqueue", safe)
    if container.shm_source is None:
        return [queues]
    if container.shm_source:
        return [_bind(BindMount(container.shm_source, _SHM)), queues]
    options = [*safe, "mode=1777", f"size={container.shm_size_bytes}"]
    return [_mount(_SHM, "tmpfs", "shm", options), queues]


def _mount(target: str, fs_type: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": target, "type": fs_type, "source": source, "options": options}


def _bind(bind: BindMount) -> dict[str, Any]:
    options = ["rbind" if bind.recursive else "bind", bind.propagation or "rprivate", "ro" if bind.read_only else "rw"]
    options += ["rro"] if bind.read_only_recursive else []
    return _mount(bind.target, "bind", bind.source, options)


def _linux(container: OciContainer) -> dict[str, Any]:
    linux: dict[str, Any] = {
        "cgroupsPath": container.cgroup_path,
        "namespaces": _namespaces(container),
        "resources": {
            "devices": _device_rules(container),
            **oci_resources(
                _for_new_group(container.limits), swap_limits=container.swap_limits, devices=container.block_devices
            ),
        },
        "sysctl": _sysctls(container),
        "devices": [_device(device) for device in container.devices],
        **({"mountLabel": container.mount_label} if container.mount_label else {}),
    }
    masked, read_only = container.masked_paths, container.read_only_paths
    if not container.privileged:
        linux["maskedPaths"] = list(MASKED_PATHS if masked is None else masked)
        linux["readonlyPaths"] = list(READ_ONLY_PATHS if read_only is None else read_only)
    if container.seccomp is not None:
        linux["seccomp"] = container.seccomp
    propagations = {bind.propagation for bind in container.binds}
    if propagations & {"shared", "rshared"}:
        linux["rootfsPropagation"] = "shared"
    elif propagations & {"slave", "rslave"}:
        linux["rootfsPropagation"] = "rslave"
    return linux


def _namespaces(container: OciContainer) -> list[dict[str, str]]:
    paths = {
        "network": container.network_namespace,
        "uts": container.uts_namespace,
        "pid": container.pid_namespace,
        "ipc": container.ipc_namespace,
        "cgroup": container.cgroup_namespace,
    }
    joined = [
        {"type": kind, "path": path} if path else {"type": kind} for kind, path in paths.items() if path is not None
    ]
    return [{"type": "mount"}, *joined]


def _sysctls(container: OciContainer) -> dict[str, str]:
    values: dict[str, str] = {}
    if container.network_namespace is not None:
        values["net.ipv4.ip_unprivileged_port_start"] = "0"
        values["net.ipv4.ping_group_range"] = "0 2147483647"
    if container.domainname and container.uts_namespace == "":
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
        *(_device_rule(rule) for rule in container.device_rules),
    ]


def _device_rule(rule: DeviceRule) -> dict[str, Any]:
    numbers = {"major": rule.major, "minor": rule.minor}
    given = {name: number for name, number in numbers.items() if number is not None}
    return {"allow": True, "type": rule.kind, **given, "access": rule.permissions}
