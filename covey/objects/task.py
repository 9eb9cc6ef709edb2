"""Tasks and their specs. A task is one attempt to run a container of a service in one slot.

Invariant: a task never moves to another node and never runs twice.
"""

from covey.objects.attachment import NetworkAttachment
from covey.objects.base import Annotations, Driver, Meta, Struct
from covey.objects.endpoint import Endpoint, PortConfig
from covey.objects.node import Platform, Resources
from covey.states import MountType, RestartCondition, TaskState

DEFAULT_STOP_GRACE_NS = 10_000_000_000


class FileTarget(Struct, frozen=True, kw_only=True):
    """The file of a secret or config in the container: a name under /run/secrets or an absolute path."""

    name: str = ""
    uid: str = "0"
    gid: str = "0"
    mode: int = 0o444


class SecretReference(Struct, frozen=True, kw_only=True):
    secret_id: str = ""
    secret_name: str = ""
    file: FileTarget = FileTarget()


class ConfigReference(Struct, frozen=True, kw_only=True):
    config_id: str = ""
    config_name: str = ""
    file: FileTarget = FileTarget()


class Mount(Struct, frozen=True, kw_only=True):
    type: MountType = MountType.BIND
    source: str = ""
    target: str = ""
    read_only: bool = False
    propagation: str = ""
    volume_driver: Driver | None = None
    volume_labels: dict[str, str] = {}
    volume_no_copy: bool = False
    tmpfs_size_bytes: int = 0
    tmpfs_mode: int = 0
    tmpfs_options: tuple[str, ...] = ()
    volume_subpath: str = ""
    image_subpath: str = ""
    bind_non_recursive: bool = False
    bind_create_mountpoint: bool = False
    bind_read_only_non_recursive: bool = False
    bind_read_only_force_recursive: bool = False


class HealthConfig(Struct, frozen=True, kw_only=True):
    """``test`` is (), ("NONE",), ("CMD", ...) or ("CMD-SHELL", line), as in Docker. 0 means the default."""

    test: tuple[str, ...] = ()
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


class DNSConfig(Struct, frozen=True, kw_only=True):
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Ulimit(Struct, frozen=True, kw_only=True):
    name: str = ""
    soft: int = 0
    hard: int = 0


class ContainerDevice(Struct, frozen=True, kw_only=True):
    """A device of the host, or all devices below a directory. ``permissions`` are some of r, w and m."""

    host_path: str = ""
    container_path: str = ""
    permissions: str = "rwm"


class Hook(Struct, frozen=True, kw_only=True):
    """A command that the node runs in a container, with the container's environment and ``env``. "" means the container's own value."""

    command: tuple[str, ...] = ()
    user: str = ""
    dir: str = ""
    env: tuple[str, ...] = ()


class ContainerSpec(Struct, frozen=True, kw_only=True):
    """``stop_grace_ns`` None means the default of 10 s; ``init`` None means the daemon's default. ``security_options`` are those of a
    container: ``label=…``, ``seccomp=…`` and ``apparmor=…``. ``registry_auth`` is the client's `X-Registry-Auth`, for pulls; it is
    never shown, and a change of it alone replaces no task. ``privileged``, ``devices`` and the hooks are what labels of the service ask
    for.
    """

    image: str = ""
    labels: dict[str, str] = {}
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    hostname: str = ""
    env: tuple[str, ...] = ()
    dir: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    tty: bool = False
    open_stdin: bool = False
    read_only: bool = False
    init: bool | None = None
    stop_signal: str = ""
    stop_grace_ns: int | None = None
    mounts: tuple[Mount, ...] = ()
    secrets: tuple[SecretReference, ...] = ()
    configs: tuple[ConfigReference, ...] = ()
    hosts: tuple[str, ...] = ()
    dns: DNSConfig | None = None
    healthcheck: HealthConfig | None = None
    capability_add: tuple[str, ...] = ()
    capability_drop: tuple[str, ...] = ()
    sysctls: dict[str, str] = {}
    ulimits: tuple[Ulimit, ...] = ()
    no_new_privileges: bool = False
    security_options: tuple[str, ...] = ()
    oom_score_adj: int = 0
    registry_auth: str = ""
    privileged: bool = False
    devices: tuple[ContainerDevice, ...] = ()
    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()


class ResourceRequirements(Struct, frozen=True, kw_only=True):
    limits: Resources | None = None
    reservations: Resources | None = None


class RestartPolicy(Struct, frozen=True, kw_only=True):
    """``max_attempts`` 0 means no limit; ``window_ns`` None or 0 means that all attempts count."""

    condition: RestartCondition = RestartCondition.ANY
    delay_ns: int = 5_000_000_000
    max_attempts: int = 0
    window_ns: int | None = None


class Affinity(Struct, frozen=True, kw_only=True):
    """A wish to be near tasks of other services, or away from them if ``apart``.

    The services are the one named ``service``, or those whose label ``label`` has the value ``value``. ``scope`` says how near: empty
    for the same node, otherwise the same value of a label such as ``node.labels.zone``. One that is ``preferred`` refuses no node.
    """

    service: str = ""
    label: str = ""
    value: str = ""
    scope: str = ""
    preferred: bool = False
    apart: bool = False


class MaxSkew(Struct, frozen=True, kw_only=True):
    """At most ``limit`` more tasks of the service on nodes with one value of the label ``scope`` than on those with another."""

    limit: int = 1
    scope: str = ""


class Placement(Struct, frozen=True, kw_only=True):
    """``preferences`` are the labels to spread over, such as ``node.labels.zone``. ``max_replicas`` is per node; 0 means no limit.
    ``affinities``, ``max_skews`` and ``priority`` are what the service's labels with the prefix `covey.` say.
    """

    constraints: tuple[str, ...] = ()
    preferences: tuple[str, ...] = ()
    max_replicas: int = 0
    platforms: tuple[Platform, ...] = ()
    affinities: tuple[Affinity, ...] = ()
    max_skews: tuple[MaxSkew, ...] = ()
    priority: int = 0


class NetworkAttachmentConfig(Struct, frozen=True, kw_only=True):
    """``target`` is the name or id of a network in a request, and the id in a stored service. ``addresses`` are fixed
    addresses of either family: those of the slots, in order.
    """

    target: str = ""
    aliases: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    driver_options: dict[str, str] = {}


class TaskSpec(Struct, frozen=True, kw_only=True):
    container: ContainerSpec = ContainerSpec()
    resources: ResourceRequirements | None = None
    restart: RestartPolicy | None = None
    placement: Placement | None = None
    networks: tuple[NetworkAttachmentConfig, ...] = ()
    log_driver: Driver | None = None
    force_update: int = 0


class ContainerStatus(Struct, frozen=True, kw_only=True):
    container_id: str = ""
    pid: int = 0
    exit_code: int = 0


class TaskStatus(Struct, frozen=True, kw_only=True):
    """``message`` describes the progress and ``error`` the failure, both for people. ``ports`` are those that the node publishes for
    this task alone (mode host), with the numbers in use.
    """

    timestamp_ns: int = 0
    state: TaskState = TaskState.NEW
    message: str = ""
    error: str = ""
    container: ContainerStatus | None = None
    ports: tuple[PortConfig, ...] = ()


class Task(Struct, frozen=True, kw_only=True):
    """``spec`` is shared with the service. ``start_after_ns`` is the end of a restart's delay; 0 means now.

    ``attached_container_id`` is set in a network attachment: a task without a service that runs nothing, but holds the addresses of a
    single container.
    """

    id: str
    meta: Meta = Meta()
    spec: TaskSpec = TaskSpec()
    spec_version: int = 0
    service_id: str = ""
    slot: int = 0
    node_id: str = ""
    annotations: Annotations = Annotations()
    service_annotations: Annotations = Annotations()
    status: TaskStatus = TaskStatus()
    desired_state: TaskState = TaskState.NEW
    networks: tuple[NetworkAttachment, ...] = ()
    endpoint: Endpoint | None = None
    start_after_ns: int = 0
    restarts: int = 0
    restart_window_started_ns: int = 0
    attached_container_id: str = ""
    log_driver: Driver | None = None
    """The cluster's default when the task was created, if its spec names none."""
    job_iteration: int | None = None
    """The run of the job that the task belongs to; None in tasks of other services."""
    generic_resources: Resources | None = None
    """The generic resources of its node that the scheduler gave to the task, and nothing else; None if its spec wants none."""
    moving: bool = False
    """Whether the task runs only until its replacement on another node does."""
    end_reason: str = ""
    """Why a task that is told to end may not stay on its node: its agent reports it REJECTED with this error, not SHUTDOWN."""
    preempted: bool = False
    """Whether the task was ended for one of higher priority, or is the one that takes its place and has no node yet."""
