"""The OCI runtime's config.json from our configuration, with Docker's defaults.

Law: pure. Everything that needs a disk or a kernel (users, device numbers, the seccomp profile, which limits exist)
is resolved by
`agent.container.bundle` and comes in as `SpecInputs`. Callers: starting a container, and `process` for an exec.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from agent.container.model import HOST_NETWORK, ContainerConfig, ExecConfig
from agent.runtime import capabilities
from agent.runtime.users import ProcessUser

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT_TARGET = "/sbin/docker-init"
_CPU_PERIOD_US = 100_000
_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_MASKED = (
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
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class BindMount(NamedTuple):
    """A path of the host shown in the container."""

    source: str
    target: str
    read_only: bool = False
    propagation: str = "rprivate"


class TmpfsMount(NamedTuple):
    target: str
    options: tuple[str, ...]


class DeviceNode(NamedTuple):
    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    permissions: str


class SpecInputs(NamedTuple):
    rootfs: str
    cgroup_path: str
    hostname: str
    user: ProcessUser
    bounding: tuple[str, ...]
    seccomp: dict[str, Any] | None
    binds: tuple[BindMount, ...] = ()
    tmpfs: tuple[TmpfsMount, ...] = ()
    devices: tuple[DeviceNode, ...] = ()
    init_path: str = ""
    swap_limits: bool = False
    cgroup_version: int = 1


def oci_spec(config: ContainerConfig, inputs: SpecInputs) -> dict[str, Any]:
    """The whole document."""
    spec: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": _main_process(config, inputs),
        "root": {"path": inputs.rootfs, "readonly": config.read_only},
        "mounts": _mounts(config, inputs),
        "linux": _linux(config, inputs),
        "annotations": {"covey.container": config.id},
    }
    if not config.host_uts:
        spec["hostname"] = inputs.hostname
    return spec


def exec_process(
    config: ContainerConfig, wanted: ExecConfig, user: ProcessUser, bounding: tuple[str, ...]
) -> dict[str, Any]:
    """The process document of an exec: the container's own environment and limits, then what the exec overrides."""
    env = _environment(config, config.hostname or config.id[:12], tty=wanted.tty, more=wanted.env)
    return _process(
        config, wanted.args, env, user, bounding, cwd=wanted.working_dir or config.working_dir, tty=wanted.tty
    )


def _main_process(config: ContainerConfig, inputs: SpecInputs) -> dict[str, Any]:
    args = (INIT_TARGET, "--", *config.args) if inputs.init_path else config.args
    env = _environment(config, inputs.hostname, tty=config.tty)
    return _process(config, args, env, inputs.user, inputs.bounding, cwd=config.working_dir, tty=config.tty)


def _process(
    config: ContainerConfig,
    args: Sequence[str],
    env: list[str],
    user: ProcessUser,
    bounding: tuple[str, ...],
    *,
    cwd: str,
    tty: bool,
) -> dict[str, Any]:
    caps = list(bounding)
    held = caps if user.uid == 0 else []
    return {
        "terminal": tty,
        "args": list(args),
        "env": env,
        "cwd": cwd or "/",
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "capabilities": {"bounding": caps, "effective": held, "permitted": held},
        "rlimits": [{"type": f"RLIMIT_{u.name.upper()}", "soft": u.soft, "hard": u.hard} for u in config.ulimits],
        "noNewPrivileges": config.no_new_privileges,
        "oomScoreAdj": config.resources.oom_score_adj,
    }


def _environment(config: ContainerConfig, hostname: str, *, tty: bool, more: Sequence[str] = ()) -> list[str]:
    values = [DEFAULT_PATH, f"HOSTNAME={hostname}", *(["TERM=xterm"] if tty else []), *config.env, *more]
    merged: dict[str, str] = {}
    for value in values:
        name, equals, _ = value.partition("=")
        if equals:
            merged[name] = value
        else:
            merged.pop(name, None)
    return list(merged.values())


def _mounts(config: ContainerConfig, inputs: SpecInputs) -> list[dict[str, Any]]:
    own = [_bind(b) for b in inputs.binds]
    own += [
        {"destination": t.target, "type": "tmpfs", "source": "tmpfs", "options": list(t.options)} for t in inputs.tmpfs
    ]
    if inputs.init_path:
        own.append(_bind(BindMount(inputs.init_path, INIT_TARGET, read_only=True)))
    taken = {m["destination"] for m in own}
    defaults = [m for m in _default_mounts(config) if m["destination"] not in taken]
    return defaults + sorted(own, key=lambda m: m["destination"].count("/"))


def _default_mounts(config: ContainerConfig) -> list[dict[str, Any]]:
    safe = ["nosuid", "noexec", "nodev"]
    rights = [] if config.privileged else ["ro"]

    def entry(target: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
        return {"destination": target, "type": kind, "source": source, "options": options}

    shm = [*safe, "mode=1777", f"size={config.shm_size_bytes}"]
    ipc = (
        [_bind(BindMount("/dev/shm", "/dev/shm")), _bind(BindMount("/dev/mqueue", "/dev/mqueue"))]  # noqa: S108
        if config.host_ipc
        else [entry("/dev/shm", "tmpfs", "shm", shm), entry("/dev/mqueue", "mqueue", "mqueue", safe)]  # noqa: S108
    )
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    return [
        entry("/proc", "proc", "proc", safe),
        entry("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        entry("/dev/pts", "devpts", "devpts", pts),
        *ipc,
        entry("/sys", "sysfs", "sysfs", [*safe, *rights]),
        entry("/sys/fs/cgroup", "cgroup", "cgroup", [*safe, *rights, "relatime"]),
    ]


def _bind(bound: BindMount) -> dict[str, Any]:
    return {
        "destination": bound.target,
        "type": "bind",
        "source": bound.source,
        "options": ["rbind", bound.propagation or "rprivate", "ro" if bound.read_only else "rw"],
    }


def _linux(config: ContainerConfig, inputs: SpecInputs) -> dict[str, Any]:
    linux: dict[str, Any] = {
        "cgroupsPath": inputs.cgroup_path,
        "namespaces": _namespaces(config, inputs),
        "resources": _resources(config, inputs),
        "sysctl": _sysctls(config),
        "devices": [
            {
                "path": d.path,
                "type": d.kind,
                "major": d.major,
                "minor": d.minor,
                "fileMode": d.mode,
                "uid": d.uid,
                "gid": d.gid,
            }
            for d in inputs.devices
        ],
    }
    if not config.privileged:
        linux["maskedPaths"] = list(_MASKED)
        linux["readonlyPaths"] = list(_READ_ONLY)
    if inputs.seccomp is not None:
        linux["seccomp"] = inputs.seccomp
    propagations = {b.propagation for b in inputs.binds}
    if propagations & {"shared", "rshared"}:
        linux["rootfsPropagation"] = "shared"
    elif propagations & {"slave", "rslave"}:
        linux["rootfsPropagation"] = "rslave"
    return linux


def _namespaces(config: ContainerConfig, inputs: SpecInputs) -> list[dict[str, str]]:
    namespaces = [{"type": "mount"}]
    if config.netns_path != HOST_NETWORK:
        namespaces.append({"type": "network", **({"path": config.netns_path} if config.netns_path else {})})
    if not config.host_uts:
        namespaces.append({"type": "uts"})
    if not config.host_pid:
        namespaces.append({"type": "pid"})
    if not config.host_ipc:
        namespaces.append({"type": "ipc"})
    if inputs.cgroup_version == 2 and not config.privileged:
        namespaces.append({"type": "cgroup"})
    return namespaces


def _sysctls(config: ContainerConfig) -> dict[str, str]:
    values: dict[str, str] = {}
    if config.netns_path != HOST_NETWORK:
        values["net.ipv4.ip_unprivileged_port_start"] = "0"
        values["net.ipv4.ping_group_range"] = "0 2147483647"
    if config.domainname and not config.host_uts:
        values["kernel.domainname"] = config.domainname
    return values | config.sysctls


def _resources(config: ContainerConfig, inputs: SpecInputs) -> dict[str, Any]:
    return {"devices": _device_rules(config, inputs), **resource_limits(config, swap_limits=inputs.swap_limits)}


def resource_limits(config: ContainerConfig, *, swap_limits: bool) -> dict[str, Any]:
    """The limits alone, as an update of a running container takes them."""
    wanted = config.resources
    resources: dict[str, Any] = {}
    memory: dict[str, int] = {}
    if wanted.memory_bytes:
        memory["limit"] = wanted.memory_bytes
        if swap_limits:
            memory["swap"] = wanted.memory_swap_bytes or 2 * wanted.memory_bytes
    if wanted.memory_reservation_bytes:
        memory["reservation"] = wanted.memory_reservation_bytes
    if memory:
        resources["memory"] = memory
    cpu: dict[str, Any] = {}
    if wanted.nano_cpus:
        cpu |= {"period": _CPU_PERIOD_US, "quota": wanted.nano_cpus * _CPU_PERIOD_US // 1_000_000_000}
    elif wanted.cpu_quota_us:
        cpu |= {"period": wanted.cpu_period_us or _CPU_PERIOD_US, "quota": wanted.cpu_quota_us}
    for key, value in (("shares", wanted.cpu_shares), ("cpus", wanted.cpuset_cpus), ("mems", wanted.cpuset_mems)):
        if value:
            cpu[key] = value
    if cpu:
        resources["cpu"] = cpu
    if wanted.pids_limit > 0:
        resources["pids"] = {"limit": wanted.pids_limit}
    return resources


def _device_rules(config: ContainerConfig, inputs: SpecInputs) -> list[dict[str, Any]]:
    if config.privileged:
        return [{"allow": True, "access": "rwm"}]
    return [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "b", "access": "m"},
        *(
            {"allow": True, "type": d.kind, "major": d.major, "minor": d.minor, "access": d.permissions}
            for d in inputs.devices
        ),
    ]


def bounding_set(config: ContainerConfig, last_capability: int) -> tuple[str, ...]:
    return capabilities.bounding_set(
        config.cap_add, config.cap_drop, privileged=config.privileged, last=last_capability
    )


def is_propagation(text: str) -> bool:
    return text in _PROPAGATIONS
