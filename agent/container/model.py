"""What a container of this host is: its configuration (fixed at creation) and its state (moves as it runs).

Law: plain frozen data, no behaviour that needs a clock, a disk or a kernel. The task worker and the Engine API build
`ContainerConfig`; `agent.container.service` alone makes new states. Units stand last in names; times are Unix
nanoseconds, 0 for never.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

HOST_NETWORK = "host"
DEFAULT_SHM_BYTES = 64 << 20


class MountKind(StrEnum):
    BIND = "bind"
    VOLUME = "volume"
    TMPFS = "tmpfs"


class ContainerMount(msgspec.Struct, frozen=True, kw_only=True):
    """A mount asked for by the user.

    `source` is a host path for a bind and the volume's name for a volume ("" makes an anonymous one). `options` are
    further mount options (for a tmpfs `size=…`, `mode=…`).
    """

    kind: MountKind
    target: str
    source: str = ""
    read_only: bool = False
    propagation: str = "rprivate"
    options: tuple[str, ...] = ()
    create_source: bool = False
    """A bind whose source is missing: make the directory (`docker run -v`) instead of refusing (`--mount`)."""
    no_copy: bool = False
    driver_labels: dict[str, str] = msgspec.field(default_factory=dict)


class FileMount(msgspec.Struct, frozen=True, kw_only=True):
    """A secret or a config: the file `source_path` of the host, shown read-only at `target`.

    `target` is absolute, or relative to /run/secrets for a secret and to / for a config. The caller owns the file's
    place
    (tmpfs for secrets); the service sets owner and mode on it before the start.
    """

    source_path: str
    target: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


class ContainerUlimit(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    soft: int
    hard: int


class DeviceMapping(msgspec.Struct, frozen=True, kw_only=True):
    host_path: str
    container_path: str = ""
    permissions: str = "rwm"


class ResourceLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits; 0 or "" means none. A limit whose cgroup controller is missing on this host is refused by name."""

    memory_bytes: int = 0
    memory_reservation_bytes: int = 0
    memory_swap_bytes: int = 0
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_quota_us: int = 0
    cpu_period_us: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    oom_score_adj: int = 0


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """As Docker's: `test` is ("NONE",), ("CMD", arg…) or ("CMD-SHELL", line); empty means none."""

    test: tuple[str, ...] = ()
    interval_seconds: float = 30.0
    timeout_seconds: float = 30.0
    retries: int = 3
    start_period_seconds: float = 0.0
    start_interval_seconds: float = 5.0


class EndpointSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What was wired into the container's namespace. The service writes /etc/hosts from it; the rest is for
    inspection.
    """

    name: str
    network_id: str = ""
    endpoint_id: str = ""
    ip: str = ""
    prefix: int = 0
    mac: str = ""
    gateway: str = ""
    aliases: tuple[str, ...] = ()
    ports: dict[str, str] = msgspec.field(default_factory=dict)
    """Published ports, "80/tcp" to "0.0.0.0:8080"; inspection only."""


class ContainerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A container, complete: image defaults are merged in by the caller before it gets here."""

    id: str
    name: str
    image: str
    image_id: str
    args: tuple[str, ...]
    """The whole command line of process 1: entrypoint, then command."""
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    working_dir: str = "/"
    user: str = ""
    groups: tuple[str, ...] = ()
    hostname: str = ""
    domainname: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    attach_stdin: bool = False
    stop_signal: str = "SIGTERM"
    stop_grace_seconds: float = 10.0
    mounts: tuple[ContainerMount, ...] = ()
    tmpfs: dict[str, str] = msgspec.field(default_factory=dict)
    """Target to comma-separated options."""
    shm_size_bytes: int = DEFAULT_SHM_BYTES
    secrets: tuple[FileMount, ...] = ()
    configs: tuple[FileMount, ...] = ()
    resources: ResourceLimits = ResourceLimits()
    ulimits: tuple[ContainerUlimit, ...] = ()
    devices: tuple[DeviceMapping, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    no_new_privileges: bool = False
    seccomp: str = ""
    """"" is the host's default profile, "unconfined" none, anything else a profile in Docker's JSON."""
    read_only: bool = False
    init: bool = False
    sysctls: dict[str, str] = msgspec.field(default_factory=dict)
    host_pid: bool = False
    host_ipc: bool = False
    host_uts: bool = False
    dns: tuple[str, ...] = ()
    """Name servers; empty copies the host's /etc/resolv.conf."""
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    """"name:address" lines for /etc/hosts."""
    networks: tuple[EndpointSettings, ...] = ()
    netns_path: str = ""
    """"" gives a new namespace with loopback only, "host" the host's own, a path the namespace bound there."""
    healthcheck: HealthCheck | None = None
    auto_remove: bool = False
    log_max_bytes: int = 32 << 20
    created_at_ns: int = 0
    task_id: str = ""
    service_id: str = ""
    extra: dict[str, str] = msgspec.field(default_factory=dict)
    """Whatever the caller wants back at inspection (its own JSON); never read here."""


class RunStatus(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"
    DEAD = "dead"
    REMOVING = "removing"


class HealthStatus(StrEnum):
    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class HealthProbe(msgspec.Struct, frozen=True):
    start_ns: int
    end_ns: int
    exit_code: int
    output: str


class ContainerHealth(msgspec.Struct, frozen=True):
    status: HealthStatus = HealthStatus.NONE
    failing_streak: int = 0
    log: tuple[HealthProbe, ...] = ()


class ContainerState(msgspec.Struct, frozen=True, kw_only=True):
    status: RunStatus = RunStatus.CREATED
    pid: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    started_at_ns: int = 0
    finished_at_ns: int = 0
    health: ContainerHealth = ContainerHealth()
    start_count: int = 0
    """How often it was started; 0 means it never ran."""

    @property
    def running(self) -> bool:
        """Holds processes: running or paused."""
        return self.status in (RunStatus.RUNNING, RunStatus.PAUSED)


class Container(msgspec.Struct, frozen=True):
    """One container as `ContainerService.get` and `list` return it: a snapshot."""

    config: ContainerConfig
    state: ContainerState

    @property
    def id(self) -> str:
        return self.config.id

    @property
    def name(self) -> str:
        return self.config.name


class ContainerEvent(msgspec.Struct, frozen=True):
    """`action` is Docker's word: create start die kill stop oom destroy pause unpause rename resize attach
    exec_create exec_start
    exec_die "health_status: healthy". `attributes` hold what belongs to the action (exitCode, signal, execID).
    """

    time_ns: int
    action: str
    container: ContainerConfig
    attributes: dict[str, str] = msgspec.field(default_factory=dict)


class ExecConfig(msgspec.Struct, frozen=True, kw_only=True):
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = True
    attach_stderr: bool = True
    privileged: bool = False
    detach_keys: str = ""


class ExecState(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    container_id: str
    config: ExecConfig
    running: bool = False
    started: bool = False
    exit_code: int | None = None
    pid: int = 0


class ContainerStats(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a container's cgroup. CPU in nanoseconds, memory in bytes; a limit of 0 is none."""

    read_ns: int
    cpu_total_ns: int = 0
    cpu_user_ns: int = 0
    cpu_system_ns: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0
    system_cpu_ns: int = 0
    online_cpus: int = 0
    memory_usage_bytes: int = 0
    memory_max_usage_bytes: int = 0
    memory_limit_bytes: int = 0
    memory_stats: dict[str, int] = msgspec.field(default_factory=dict)
    pids_current: int = 0
    pids_limit: int = 0


class ProcessTable(msgspec.Struct, frozen=True):
    titles: tuple[str, ...]
    processes: tuple[tuple[str, ...], ...]


class LogEntry(NamedTuple):
    """One write of the container, partial lines joined; `data` keeps its final newline. `stream` is "stdout" or
    "stderr".
    """

    time_ns: int
    stream: str
    data: bytes
