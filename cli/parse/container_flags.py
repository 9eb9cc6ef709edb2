"""Flags of ``run``, ``create`` and ``update``: one row for each flag, with its value, its field in the API and its help.

Invariant: a flag that sets one field is one row here; the options with their help (``cli.container.options``) and the request body
(``cli.container.create_body``) follow from the row. Rows without a path have a rule of their own in ``create_body`` or in the command.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import click

from cli.parse import container_networks, container_ports
from cli.parse import container_values as values
from cli.parse.mounts import parse_mount
from cli.parse.param_types import BYTES, COUNT, CPUS, DURATION, ParsedParam
from covey.capabilities import normal

Path = tuple[str, ...]
HOST: Path = ("HostConfig",)
HEALTH: Path = ("Healthcheck",)
RUN, CREATE, UPDATE = "run", "create", "update"
BOTH = (RUN, CREATE)
ALL = (RUN, CREATE, UPDATE)
WINDOWS = "(Windows only)"


class Flag(NamedTuple):
    """One flag.

    ``path`` is the field of the body of ``create``; ``update`` has the same field without ``HostConfig``. ``to_body`` makes the field's
    value from the flag's. ``default`` is the default as the help shows it. ``switch`` is a boolean. ``windows`` marks a flag that means
    nothing on Linux and is refused.
    """

    name: str
    help: str
    path: Path = ()
    type: Any = None
    metavar: str = ""
    short: str = ""
    default: str = ""
    multiple: bool = False
    switch: bool = False
    to_body: Callable[[Any], Any] = lambda value: value
    commands: tuple[str, ...] = BOTH
    completion: str = ""
    windows: bool = False
    hidden: bool = False

    @property
    def key(self) -> str:
        """The keyword argument under which a command receives the value."""
        return self.name.replace("-", "_")


def _parsed(name: str, parse: Callable[[str], Any]) -> ParsedParam:
    return ParsedParam(name, parse)


def _many(name: str, text: str, path: Path, parse: Callable[[str], Any] = str, **settings: Any) -> Flag:
    """A flag that may be given several times and makes a list."""
    metavar = settings.pop("metavar", "list")
    return Flag(
        name, text, path, type=_parsed(metavar, parse), metavar=metavar, multiple=True, **{"to_body": list, **settings}
    )


def _map(name: str, text: str, path: Path, parse: Callable[[str], tuple[str, str]], **settings: Any) -> Flag:
    """A flag that may be given several times and makes a mapping."""
    return _many(name, text, path, parse, **{"metavar": "map", "to_body": dict, **settings})


def _capabilities(names: tuple[str, ...]) -> list[str]:
    return sorted({normal(name) for name in names})


def _windows(name: str, kind: str, text: str) -> Flag:
    return Flag(name, f"{text} {WINDOWS}", metavar=kind, windows=True)


_RESOURCES = (
    Flag(
        "blkio-weight",
        "Block IO (relative weight), between 10 and 1000, or 0 to disable",
        (*HOST, "BlkioWeight"),
        click.IntRange(0, 65535),
        metavar="uint16",
        default="0",
        commands=ALL,
    ),
    Flag("cpu-period", "Limit CPU CFS (Completely Fair Scheduler) period", (*HOST, "CpuPeriod"), int, commands=ALL),
    Flag("cpu-quota", "Limit CPU CFS (Completely Fair Scheduler) quota", (*HOST, "CpuQuota"), int, commands=ALL),
    Flag(
        "cpu-rt-period", "Limit CPU real-time period in microseconds", (*HOST, "CpuRealtimePeriod"), int, commands=ALL
    ),
    Flag(
        "cpu-rt-runtime",
        "Limit CPU real-time runtime in microseconds",
        (*HOST, "CpuRealtimeRuntime"),
        int,
        commands=ALL,
    ),
    Flag("cpu-shares", "CPU shares (relative weight)", (*HOST, "CpuShares"), int, short="-c", commands=ALL),
    Flag("cpus", "Number of CPUs", (*HOST, "NanoCpus"), CPUS, commands=ALL),
    Flag("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)", (*HOST, "CpusetCpus"), commands=ALL),
    Flag("cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)", (*HOST, "CpusetMems"), commands=ALL),
    Flag("memory", "Memory limit", (*HOST, "Memory"), BYTES, short="-m", commands=ALL),
    Flag("memory-reservation", "Memory soft limit", (*HOST, "MemoryReservation"), BYTES, commands=ALL),
    Flag(
        "memory-swap",
        "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        (*HOST, "MemorySwap"),
        _parsed("bytes", values.swap),
        commands=ALL,
    ),
    Flag("pids-limit", "Tune container pids limit (set -1 for unlimited)", (*HOST, "PidsLimit"), int, commands=ALL),
    Flag(
        "restart",
        "Restart policy to apply when a container exits",
        (*HOST, "RestartPolicy"),
        _parsed("string", values.restart_policy),
        commands=ALL,
    ),
)
_DEVICES = (
    _many(
        "blkio-weight-device",
        "Block IO weight (relative device weight)",
        (*HOST, "BlkioWeightDevice"),
        values.device_weight,
    ),
    _many("device", "Add a host device to the container", ()),
    _many(
        "device-cgroup-rule",
        "Add a rule to the cgroup allowed devices list",
        (*HOST, "DeviceCgroupRules"),
        values.device_cgroup_rule,
    ),
    _many(
        "device-read-bps",
        "Limit read rate (bytes per second) from a device",
        (*HOST, "BlkioDeviceReadBps"),
        values.device_bytes,
    ),
    _many(
        "device-read-iops",
        "Limit read rate (IO per second) from a device",
        (*HOST, "BlkioDeviceReadIOps"),
        values.device_operations,
    ),
    _many(
        "device-write-bps",
        "Limit write rate (bytes per second) to a device",
        (*HOST, "BlkioDeviceWriteBps"),
        values.device_bytes,
    ),
    _many(
        "device-write-iops",
        "Limit write rate (IO per second) to a device",
        (*HOST, "BlkioDeviceWriteIOps"),
        values.device_operations,
    ),
    _many(
        "gpus", "GPU devices to add to the container ('all' to pass all GPUs)", (), values.gpus, metavar="gpu-request"
    ),
)
_PROCESS = (
    _map(
        "annotation",
        "Add an annotation to the container (passed through to the OCI runtime)",
        (*HOST, "Annotations"),
        values.key_value("annotation"),
    ),
    Flag("entrypoint", "Overwrite the default ENTRYPOINT of the image", ("Entrypoint",), to_body=lambda text: [text]),
    _many("env", "Set environment variables", (), values.environment_variable, short="-e"),
    _many("env-file", "Read in a file of environment variables", ()),
    _many("group-add", "Add additional groups to join", (*HOST, "GroupAdd")),
    Flag(
        "init",
        "Run an init inside the container that forwards signals and reaps processes",
        (*HOST, "Init"),
        switch=True,
    ),
    Flag("interactive", "Keep STDIN open even if not attached", ("OpenStdin",), short="-i", switch=True),
    _map("label", "Set meta data on a container", (), values.key_value("label"), short="-l", metavar="list"),
    _many("label-file", "Read in a line delimited file of labels", ()),
    Flag("oom-kill-disable", "Disable OOM Killer", (*HOST, "OomKillDisable"), switch=True),
    Flag("oom-score-adj", "Tune host's OOM preferences (-1000 to 1000)", (*HOST, "OomScoreAdj"), int),
    Flag("stop-signal", "Signal to stop the container", ("StopSignal",)),
    Flag("stop-timeout", "Timeout (in seconds) to stop a container", ("StopTimeout",), int),
    Flag("tty", "Allocate a pseudo-TTY", ("Tty",), short="-t", switch=True),
    _many("ulimit", "Ulimit options", (*HOST, "Ulimits"), values.ulimit, metavar="ulimit"),
    Flag("user", "Username or UID (format: <name|uid>[:<group|gid>])", ("User",), short="-u"),
    Flag("workdir", "Working directory inside the container", ("WorkingDir",), short="-w"),
)
_HEALTH = (
    Flag("health-cmd", "Command to run to check health"),
    Flag("health-interval", "Time between running the check (ms|s|m|h)", (*HEALTH, "Interval"), DURATION, default="0s"),
    Flag(
        "health-retries", "Consecutive failures needed to report unhealthy", (*HEALTH, "Retries"), COUNT, metavar="int"
    ),
    Flag(
        "health-start-interval",
        "Time between running the check during the start period (ms|s|m|h)",
        (*HEALTH, "StartInterval"),
        DURATION,
        default="0s",
    ),
    Flag(
        "health-start-period",
        "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h)",
        (*HEALTH, "StartPeriod"),
        DURATION,
        default="0s",
    ),
    Flag(
        "health-timeout",
        "Maximum time to allow one check to run (ms|s|m|h)",
        (*HEALTH, "Timeout"),
        DURATION,
        default="0s",
    ),
    Flag("no-healthcheck", "Disable any container-specified HEALTHCHECK", switch=True),
)
_NETWORK = (
    _many("add-host", "Add a custom host-to-IP mapping (host:ip)", (*HOST, "ExtraHosts"), values.host),
    _many("dns", "Set custom DNS servers", (*HOST, "Dns"), values.dns_server),
    _many("dns-option", "Set DNS options", (*HOST, "DnsOptions")),
    _many("dns-search", "Set custom DNS search domains", (*HOST, "DnsSearch"), values.dns_domain),
    Flag("domainname", "Container NIS domain name", ("Domainname",)),
    _many("expose", "Expose a port or a range of ports", (), container_ports.expose),
    Flag("hostname", "Container host name", ("Hostname",), short="-h"),
    Flag("ip", "IPv4 address (e.g., 172.30.100.104)"),
    Flag("ip6", "IPv6 address (e.g., 2001:db8::33)"),
    _many("link", "Add link to another container", (*HOST, "Links"), completion="container"),
    _many("link-local-ip", "Container IPv4/IPv6 link-local addresses", ()),
    Flag("mac-address", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    _many(
        "network",
        "Connect a container to a network",
        (),
        container_networks.parse_attachment,
        metavar="network",
        completion="network",
    ),
    _many("network-alias", "Add network-scoped alias for the container", ()),
    _many("publish", "Publish a container's port(s) to the host", (), container_ports.publish, short="-p"),
    Flag(
        "publish-all", "Publish all exposed ports to random ports", (*HOST, "PublishAllPorts"), short="-P", switch=True
    ),
)
_STORAGE = (
    _many("mount", "Attach a filesystem mount to the container", (), parse_mount, metavar="mount"),
    Flag("read-only", "Mount the container's root filesystem as read only", (*HOST, "ReadonlyRootfs"), switch=True),
    Flag("shm-size", "Size of /dev/shm", (*HOST, "ShmSize"), BYTES),
    _map(
        "storage-opt",
        "Storage driver options for the container",
        (*HOST, "StorageOpt"),
        values.storage_option,
        metavar="list",
    ),
    _many("tmpfs", "Mount a tmpfs directory", ()),
    _many("volume", "Bind mount a volume", (), short="-v", completion="volume"),
    Flag("volume-driver", "Optional volume driver for the container", (*HOST, "VolumeDriver")),
    _many(
        "volumes-from",
        "Mount volumes from the specified container(s)",
        (*HOST, "VolumesFrom"),
        completion="container",
    ),
)
_ISOLATION = (
    _many("cap-add", "Add Linux capabilities", (*HOST, "CapAdd"), to_body=_capabilities),
    _many("cap-drop", "Drop Linux capabilities", (*HOST, "CapDrop"), to_body=_capabilities),
    Flag("cgroup-parent", "Optional parent cgroup for the container", (*HOST, "CgroupParent")),
    Flag("cgroupns", "Cgroup namespace to use (host|private)", (*HOST, "CgroupnsMode")),
    Flag("ipc", "IPC mode to use", (*HOST, "IpcMode")),
    Flag("isolation", "Container isolation technology", (*HOST, "Isolation")),
    Flag("kernel-memory", "Kernel memory limit", (*HOST, "KernelMemory"), BYTES),
    Flag(
        "memory-swappiness",
        "Tune container memory swappiness (0 to 100)",
        (*HOST, "MemorySwappiness"),
        click.IntRange(-1, 100),
        metavar="int",
        default="-1",
    ),
    Flag("pid", "PID namespace to use", (*HOST, "PidMode")),
    Flag("privileged", "Give extended privileges to this container", (*HOST, "Privileged"), switch=True),
    Flag("runtime", "Runtime to use for this container", (*HOST, "Runtime")),
    _many("security-opt", "Security Options", ()),
    _map("sysctl", "Sysctl options", (*HOST, "Sysctls"), values.sysctl),
    Flag("userns", "User namespace to use", (*HOST, "UsernsMode")),
    Flag("uts", "UTS namespace to use", (*HOST, "UTSMode")),
    _windows("cpu-count", "int", "CPU count"),
    _windows("cpu-percent", "int", "CPU percent"),
    _windows("io-maxbandwidth", "bytes", "Maximum IO bandwidth limit for the system drive"),
    _windows("io-maxiops", "uint", "Maximum IOps limit for the system drive"),
)
_CLIENT = (
    _many("attach", "Attach to STDIN, STDOUT or STDERR", (), values.stream, short="-a"),
    Flag("cidfile", "Write the container ID to the file", (*HOST, "ContainerIDFile")),
    Flag("disable-content-trust", "Skip image verification", default="true", switch=True),
    Flag("log-driver", "Logging driver for the container", (*HOST, "LogConfig", "Type")),
    _map(
        "log-opt", "Log driver options", (*HOST, "LogConfig", "Config"), values.key_value("log option"), metavar="list"
    ),
    Flag("name", "Assign a name to the container"),
    Flag("platform", "Set platform if server is multi-platform capable"),
    Flag(
        "pull",
        'Pull image before running ("always", "missing", "never")',
        type=click.Choice(("always", "missing", "never")),
    ),
    Flag("quiet", "Suppress the pull output", short="-q", switch=True),
    Flag(
        "rm",
        "Automatically remove the container and its associated anonymous volumes when it exits",
        (*HOST, "AutoRemove"),
        switch=True,
    ),
    Flag("use-api-socket", "Bind mount the API socket", switch=True),
    Flag("detach", "Run container in background and print container ID", short="-d", switch=True, commands=(RUN,)),
    Flag("detach-keys", "Override the key sequence for detaching a container", commands=(RUN,)),
    Flag("sig-proxy", "Proxy received signals to the process", default="true", switch=True, commands=(RUN,)),
)

FLAGS: tuple[Flag, ...] = (
    *_RESOURCES,
    *_DEVICES,
    *_PROCESS,
    *_HEALTH,
    *_NETWORK,
    *_STORAGE,
    *_ISOLATION,
    *_CLIENT,
)
