"""Data types of containers on this host: configuration (fixed at creation), state, events and execs.

Invariant: frozen data, no behaviour that needs a clock, a disk or a kernel. The task worker and the Engine API build
`ContainerConfig`; only `agent.container` creates new states. Times are Unix nanoseconds, 0 for never.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from agent.runtime.limits import ResourceLimits

HOST_NETWORK = "host"
DEFAULT_SHM_BYTES = 64 << 20
DEFAULT_STOP_GRACE_SECONDS = 10.0


class MountKind(StrEnum):
    BIND = "bind"
    VOLUME = "volume"
    TMPFS = "tmpfs"
    IMAGE = "image"


class MountOrigin(StrEnum):
    """The option that asked for a mount: `--mount`, `-v`, a volume path of the user or the image, or `--volumes-from`."""

    MOUNT = "mount"
    BIND = "bind"
    VOLUME_PATH = "volume-path"
    VOLUMES_FROM = "volumes-from"


class ContainerMount(msgspec.Struct, frozen=True, kw_only=True):
    """A mount that the user asks for.

    `source` is a host path for a bind, a volume's name for a volume ("" creates an anonymous volume), and an image's
    name for an image. `options` are further mount options (`size=…` and `mode=…` for a tmpfs).
    """

    kind: MountKind
    target: str
    source: str = ""
    read_only: bool = False
    propagation: str = "rprivate"
    options: tuple[str, ...] = ()
    create_source: bool = False
    """Create the directory of a bind whose source is missing (`docker run -v`) instead of refusing it (`--mount`)."""
    no_copy: bool = False
    subpath: str = ""
    """A path below the root of a volume or image, which is mounted instead of the root."""
    non_recursive: bool = False
    read_only_non_recursive: bool = False
    """Of a read-only bind: leave mounts below it writable; `read_only_force_recursive` refuses if they cannot be read-only."""
    read_only_force_recursive: bool = False
    driver: str = ""
    """A volume's driver, "" for local; `driver_options` and `driver_labels` are those of a volume that does not exist yet."""
    driver_options: dict[str, str] = msgspec.field(default_factory=dict)
    driver_labels: dict[str, str] = msgspec.field(default_factory=dict)
    mode: str = ""
    """The third part of a `-v` mount as the user wrote it (`ro,z`), for inspection."""
    origin: MountOrigin = MountOrigin.MOUNT
    anonymous: bool = False
    """A volume without a name; its `source` is generated when the container is created."""
    consistency: str = ""
    image_id: str = ""
    """Of an image mount: the image that the name meant when the container was created."""


class FileMount(msgspec.Struct, frozen=True, kw_only=True):
    """A secret or config: the host's file `source_path`, mounted read-only at `target`.

    `target` is absolute, or relative to /run/secrets (secrets) or / (configs). The caller writes the file (a secret's on
    a tmpfs); the start sets its owner and mode.
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


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """As in Docker: `test` is ("NONE",), ("CMD", arg…) or ("CMD-SHELL", line); empty means no health check.

    A zero means the default of `agent.container.health`.
    """

    test: tuple[str, ...] = ()
    interval_seconds: float = 0.0
    timeout_seconds: float = 0.0
    retries: int = 0
    start_period_seconds: float = 0.0
    start_interval_seconds: float = 0.0


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a container starts again by itself: `no`, `on-failure`, `always` or `unless-stopped`."""

    name: str = "no"
    maximum_retries: int = 0
    """Limit of `on-failure`; 0 means no limit."""


class LogConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The log driver (json-file, local, none, journald or syslog) and its options, such as `max-size`. "" is the daemon's default."""

    driver: str = ""
    options: dict[str, str] = msgspec.field(default_factory=dict)


class NetworkRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A network that the user asks for. `EndpointSettings` says what the container got."""

    network: str
    """Name or id."""
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    """"container:alias" names."""
    ip: str = ""
    ip6: str = ""
    link_local_ips: tuple[str, ...] = ()
    mac: str = ""
    driver_options: dict[str, str] = msgspec.field(default_factory=dict)
    gateway_priority: int = 0
    """The network with the highest one gives the default route; among equals the first by name."""


class EndpointSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A network endpoint of the container. A new daemon finds the endpoint in the kernel by these fields."""

    name: str
    driver: str = ""
    """The network's driver; empty in data of earlier versions."""
    network_id: str = ""
    endpoint_id: str = ""
    ip: str = ""
    prefix: int = 0
    mac: str = ""
    gateway: str = ""
    ip6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    link_local_ips: tuple[str, ...] = ()
    gateway_priority: int = 0
    sysctls: dict[str, str] = msgspec.field(default_factory=dict)
    """Kernel parameters of the interface, by their path below /proc/sys."""
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    """"container:alias" names that the container resolves on this network."""
    interface: str = ""
    """Name of the interface in the container's namespace."""
    host_device: str = ""
    """The device of the host's namespace through which the host reaches the address, "" if it does not."""


class PortBinding(msgspec.Struct, frozen=True, kw_only=True):
    """Where a container's port is to be published, as the user wrote it: "" is any address, and any free port.

    `host_port` is a number or a range, of which the first free one is taken.
    """

    host_address: str = ""
    host_port: str = ""


class PortChanges(msgspec.Struct, frozen=True, kw_only=True):
    """The ports that a container is to publish from now on, and whether the routing mesh leads to it."""

    bindings: dict[str, tuple[PortBinding, ...] | None]
    in_mesh: bool = False


class PublishedPort(msgspec.Struct, frozen=True, kw_only=True):
    """A published port of a running container. `port` is the container's, `80/tcp`."""

    port: str
    host_address: str
    host_port: int


class NetworkConnection(msgspec.Struct, frozen=True, kw_only=True):
    """What a start got from the network: the namespace (as `ContainerConfig.netns_path`), its endpoints, and its resolver's address."""

    netns_path: str = ""
    endpoints: tuple[EndpointSettings, ...] = ()
    resolver: str = ""
    host_gateway: str = ""
    """Address by which the container reaches the host, "" if there is none."""
    published: tuple[PublishedPort, ...] = ()


class ContainerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Complete configuration of a container. The caller has merged the image's defaults into it."""

    id: str
    name: str
    image: str
    image_id: str
    args: tuple[str, ...]
    """The command line of process 1: entrypoint, then command."""
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
    stop_grace_seconds: float | None = None
    """None for `DEFAULT_STOP_GRACE_SECONDS`."""
    mounts: tuple[ContainerMount, ...] = ()
    tmpfs: dict[str, str] = msgspec.field(default_factory=dict)
    """Target to comma-separated options."""
    shm_size_bytes: int = 0
    """0 for the daemon's default."""
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
    """"" for the host's default profile, "unconfined" for none, otherwise a profile in Docker's JSON format."""
    read_only: bool = False
    init: bool | None = None
    """None where the user left it to the daemon's default, which is no init program."""
    sysctls: dict[str, str] = msgspec.field(default_factory=dict)
    ipc_mode: str = ""
    """Like the other namespace modes: "" for the default (private), "host", or "container:REF"; of IPC also "shareable"
    and "none".
    """
    pid_mode: str = ""
    uts_mode: str = ""
    cgroupns_mode: str = ""
    userns_mode: str = ""
    dns: tuple[str, ...] = ()
    """Name servers; if empty, the host's /etc/resolv.conf is copied."""
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    """"name:address" lines for /etc/hosts."""
    network_mode: str = ""
    """`bridge`, `none`, `host`, `container:ID` or a network's name; "" for a task's container."""
    requested_networks: tuple[NetworkRequest, ...] = ()
    """For a task: network ids, with the addresses that the managers allocated (`10.0.1.5/24`)."""
    networks: tuple[EndpointSettings, ...] = ()
    in_mesh: bool = False
    """Whether the routing mesh leads connections to it."""
    port_bindings: dict[str, tuple[PortBinding, ...] | None] = msgspec.field(default_factory=dict)
    """Ports to publish, `80/tcp` by where."""
    published: tuple[PublishedPort, ...] = ()
    """What the last start published."""
    netns_path: str = ""
    """"" for a new namespace with loopback only, "host" for the host's, or the path of an existing namespace."""
    resolver: str = ""
    """Address of the DNS server in the container's network sandbox; "" if the container asks `dns` or the host's servers itself."""
    healthcheck: HealthCheck | None = None
    auto_remove: bool = False
    restart: RestartPolicy = RestartPolicy()
    log: LogConfig = LogConfig()
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    runtime: str = ""
    volumes_from: tuple[str, ...] = ()
    storage_options: dict[str, str] = msgspec.field(default_factory=dict)
    security_options: tuple[str, ...] = ()
    """As the user wrote them: `seccomp=…`, `apparmor=…`, `label=…`, `no-new-privileges`, `systempaths=unconfined`."""
    masked_paths: tuple[str, ...] | None = None
    """None for Docker's defaults; the same for `read_only_paths`."""
    read_only_paths: tuple[str, ...] | None = None
    device_cgroup_rules: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    volume_paths: tuple[str, ...] = ()
    """`Config.Volumes`: paths that get an anonymous volume unless something else is mounted there."""
    volume_driver: str = ""
    """The driver of volumes in `-v` mounts, "" for local."""
    cgroup_parent: str = ""
    """The cgroup that holds the container's own, "" for the daemon's."""
    apparmor_profile: str = ""
    writable_cgroups: bool = False
    network_disabled: bool = False
    publish_all_ports: bool = False
    links: tuple[str, ...] = ()
    """Links on the default bridge, "container:alias"."""
    shell: tuple[str, ...] = ()
    """Like `on_build`, `container_id_file` and `isolation`: kept for inspection and commits."""
    on_build: tuple[str, ...] = ()
    container_id_file: str = ""
    console_size: tuple[int, int] = (0, 0)
    """Height and width of the terminal at the start."""
    isolation: str = ""
    log_max_bytes: int = 0
    """Bound of a json-file log whose options set none, 0 for no bound."""
    created_at_ns: int = 0
    task_id: str = ""
    service_id: str = ""


class RunStatus(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    RESTARTING = "restarting"
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
    """Number of starts; 0 means it never ran."""
    restart_count: int = 0
    """Number of restarts by the restart policy since the user last started it."""
    stopped_by_user: bool = False
    """Whether a user stopped it; the policy `unless-stopped` then leaves it stopped when the daemon starts."""
    removes_volumes: bool = False
    """Whether a removal that has begun (REMOVING) also removes its anonymous volumes."""

    @property
    def running(self) -> bool:
        """Whether it has processes: running or paused."""
        return self.status in (RunStatus.RUNNING, RunStatus.PAUSED)

    @property
    def active(self) -> bool:
        """What Docker calls running: it has processes, or its restart policy will start it again."""
        return self.running or self.status is RunStatus.RESTARTING


class Container(msgspec.Struct, frozen=True):
    """Snapshot of one container, as `get` and `list` return it."""

    config: ContainerConfig
    state: ContainerState

    @property
    def id(self) -> str:
        return self.config.id

    @property
    def name(self) -> str:
        return self.config.name


class ContainerFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of a container's files on this host; "" for a file that the container does not have. `lower` lists the layers."""

    log: str = ""
    resolv_conf: str = ""
    hostname: str = ""
    hosts: str = ""
    lower: str = ""
    upper: str = ""
    work: str = ""
    merged: str = ""


CONNECT_NETWORK, DISCONNECT_NETWORK = "connect_network", "disconnect_network"
"""Actions of the events of `docker network connect` and `disconnect`, with the attributes `network` and `network_id`."""


class ContainerEvent(msgspec.Struct, frozen=True):
    """`action` is Docker's: create, start, die, kill, stop, oom, destroy, pause, unpause, rename, update, resize,
    attach, exec_create, exec_start, exec_die, "health_status: healthy". `attributes` belong to the action, for example
    exitCode, signal or execID.
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
    console_size: tuple[int, int] | None = None
    """(height, width) of the terminal at its start, if the start names none."""


class ExecState(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    container_id: str
    config: ExecConfig
    running: bool = False
    started: bool = False
    exit_code: int | None = None
    pid: int = 0


class ProcessTable(msgspec.Struct, frozen=True):
    titles: tuple[str, ...]
    processes: tuple[tuple[str, ...], ...]
