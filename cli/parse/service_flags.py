"""The flags of ``service create`` and ``service update``: one row for each flag, with its value, its spec field and its help.

Invariant: a flag that sets a field of the spec is one row here. The options and their help (``cli.service.options``), the spec
(``cli.service.spec``) and the same key of a stack file (``cli.stack.service_spec``) follow from the row. Flags without a path have a
rule of their own in ``cli.service.spec`` or in the command.
"""

import shlex
from collections.abc import Callable
from typing import Any

import click
import msgspec

from cli.parse import flag_values as values
from cli.parse.key_values import parse_key_values
from cli.parse.mounts import parse_service_mount
from cli.parse.option_flags import AUTOSCALE, HOOKS, PRIVILEGES, SCHEDULE
from cli.parse.param_types import BYTES, COUNT, CPUS, DURATION
from cli.parse.service_choices import (
    ENDPOINT_MODES,
    FAILURE_ACTIONS,
    MODES,
    ORDERS,
    RESTART_CONDITIONS,
    ROLLBACK_FAILURE_ACTIONS,
)
from cli.parse.service_ports import expand_ports, parse_port, port_identity, port_reference
from covey.errors import InvalidArgumentError
from covey.quantities import go_duration
from covey.service_options import rollout
from covey.service_options.affinity import AFFINITY_LABEL as AFFINITY
from covey.service_options.affinity import ANTI_AFFINITY_LABEL as ANTI_AFFINITY
from covey.service_options.max_skew import MAX_SKEW_LABEL
from covey.service_options.priority import PRIORITY_LABEL

Path = tuple[str, ...]
CONTAINER: Path = ("TaskTemplate", "ContainerSpec")
DNS: Path = (*CONTAINER, "DNSConfig")
HEALTH: Path = (*CONTAINER, "Healthcheck")
LIMITS: Path = ("TaskTemplate", "Resources", "Limits")
LOG: Path = ("TaskTemplate", "LogDriver")
PLACEMENT: Path = ("TaskTemplate", "Placement")
RESERVATIONS: Path = ("TaskTemplate", "Resources", "Reservations")
RESTART: Path = ("TaskTemplate", "RestartPolicy")


class ObjectIds(msgspec.Struct, frozen=True, kw_only=True):
    """Ids by name of the objects that flags refer to."""

    secrets: dict[str, str] = {}
    configs: dict[str, str] = {}
    networks: dict[str, str] = {}


class Flag(msgspec.Struct, frozen=True):
    """A flag of both commands with one value, unless it says otherwise.

    ``path`` is the field of the spec. ``default`` is what applies when ``service create`` does not get the flag, as the help shows it.
    ``switch`` is a boolean that ``--no-NAME`` turns off; ``present`` is one that is only turned on.
    """

    name: str
    help: str
    path: Path = ()
    type: Any = None
    default: str = ""
    short: str = ""
    metavar: str = ""
    to_spec: Callable[[Any], Any] = lambda value: value
    switch: bool = False
    present: bool = False
    multiple: bool = False
    commands: tuple[str, ...] = ("create", "update")
    supported: bool = True

    @property
    def key(self) -> str:
        """The keyword argument under which a command receives the value."""
        return self.name.replace("-", "_")


class ListFlag(msgspec.Struct, frozen=True):
    """A flag that adds entries to a list of the spec; ``service update`` has it as ``--NAME-add`` and ``--NAME-rm``.

    ``parse`` makes an entry from the flag's text. ``identity`` is the text that tells entries apart; ``--NAME-rm`` takes it, or a text
    that ``reference`` turns into it; ``removal_identity`` is what it compares, if that is less. ``expand`` makes several texts of one, such
    as a range of ports. ``noun`` names one entry in the help of ``update``, ``removed_by`` says what ``--NAME-rm`` takes. ``completion`` is
    the kind of object whose names the shell completes.
    """

    name: str
    help: str
    noun: str
    path: Path
    parse: Callable[[str, ObjectIds], Any] = lambda text, _: text
    identity: Callable[[Any], str] = str
    reference: Callable[[str, ObjectIds], str] = lambda text, _: text
    removal_identity: Callable[[Any], str] | None = None
    expand: Callable[[str], list[str]] = lambda text: [text]
    short: str = ""
    metavar: str = "list"
    removed_by: str = ""
    completion: str = ""
    supported: bool = True

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")


class MapFlag(ListFlag, frozen=True):
    """A flag that adds ``KEY=VALUE`` to a mapping of the spec; ``service update`` has it as ``--NAME-add`` and ``--NAME-rm``."""


def shell_words(flag: str) -> Callable[[str], list[str]]:
    """Splits a flag's text as a shell does."""

    def split(text: str) -> list[str]:
        try:
            return shlex.split(text)
        except ValueError as error:
            raise InvalidArgumentError(f"--{flag} {text}: {error}") from error

    return split


def _health_test(command: str) -> list[str]:
    return ["CMD-SHELL", command] if command else []


def _policy_flags(section: str, noun: str, done: str, actions: tuple[str, ...]) -> tuple[Flag, ...]:
    """The flags of UpdateConfig or RollbackConfig; ``noun`` is the prefix of their names."""
    ratio, article = click.FloatRange(0, 1), "an" if noun == "update" else "a"
    return (
        Flag(f"{noun}-delay", f"Delay between task {noun}s", (section, "Delay"), DURATION, "0s"),
        Flag(
            f"{noun}-failure-action",
            f"Action on {noun} failure",
            (section, "FailureAction"),
            click.Choice(actions),
            '"pause"',
        ),
        Flag(
            f"{noun}-max-failure-ratio",
            f"Failure rate to tolerate during {article} {noun}",
            (section, "MaxFailureRatio"),
            ratio,
            "0",
        ),
        Flag(
            f"{noun}-monitor",
            f"How long to monitor each task for failure after its {noun}",
            (section, "Monitor"),
            DURATION,
            "5s",
        ),
        Flag(f"{noun}-order", f"{noun.capitalize()} order", (section, "Order"), click.Choice(ORDERS), '"stop-first"'),
        Flag(
            f"{noun}-parallelism",
            f"Maximum number of tasks {done} simultaneously (0 means all at once)",
            (section, "Parallelism"),
            COUNT,
            "1",
        ),
    )


def _label_flags(rows: tuple[tuple[str, str, str], ...]) -> tuple[Flag, ...]:
    """Flags that write labels `covey.NAME`; dots of the name are dashes of the flag."""
    return tuple(
        Flag(name.replace(".", "-"), text, ("Labels", f"covey.{name}"), metavar=metavar) for name, text, metavar in rows
    )


FLAGS: tuple[Flag, ...] = (
    Flag("affinity", "Run near tasks of services (SERVICE|label:KEY=VALUE[@SCOPE][,preferred])", ("Labels", AFFINITY)),
    Flag("anti-affinity", "Run away from tasks of services (as --affinity)", ("Labels", ANTI_AFFINITY)),
    Flag("args", "Arguments of the service's command", metavar="command", commands=("update",)),
    Flag("cap-add", "Add Linux capabilities", multiple=True),
    Flag("cap-drop", "Drop Linux capabilities", multiple=True),
    Flag("detach", "Exit immediately instead of waiting for the service to converge", short="-d", present=True),
    Flag("endpoint-mode", "Endpoint mode", ("EndpointSpec", "Mode"), click.Choice(ENDPOINT_MODES), '"vip"'),
    Flag(
        "entrypoint",
        "Overwrite the default ENTRYPOINT of the image",
        (*CONTAINER, "Command"),
        metavar="command",
        to_spec=shell_words("entrypoint"),
    ),
    Flag("env-file", "Read in a file of environment variables", multiple=True, commands=("create",)),
    Flag("force", "Force update even if no changes require it", present=True, commands=("update",)),
    Flag("health-cmd", "Command to run to check health", (*HEALTH, "Test"), to_spec=_health_test),
    Flag("health-interval", "Time between health checks", (*HEALTH, "Interval"), DURATION),
    Flag("health-retries", "Consecutive failures needed to report unhealthy", (*HEALTH, "Retries"), COUNT),
    Flag("health-start-interval", "Time between checks in the start period", (*HEALTH, "StartInterval"), DURATION),
    Flag(
        "health-start-period", "Time after the start in which failures do not count", (*HEALTH, "StartPeriod"), DURATION
    ),
    Flag("health-timeout", "Maximum time to allow one check to run", (*HEALTH, "Timeout"), DURATION),
    Flag("hostname", "Container hostname", (*CONTAINER, "Hostname")),
    Flag("image", "Service image tag", commands=("update",)),
    Flag(
        "init",
        "Run an init in each container that forwards signals and reaps processes",
        (*CONTAINER, "Init"),
        switch=True,
    ),
    Flag("limit-cpu", "Limit CPUs", (*LIMITS, "NanoCPUs"), CPUS),
    Flag("limit-memory", "Limit Memory", (*LIMITS, "MemoryBytes"), BYTES),
    Flag("limit-pids", "Limit maximum number of processes (0 means unlimited)", (*LIMITS, "Pids"), COUNT, "0"),
    Flag("log-driver", "Logging driver for service", (*LOG, "Name")),
    Flag(
        "log-opt",
        "Logging driver options",
        (*LOG, "Options"),
        multiple=True,
        to_spec=parse_key_values,
        supported=False,
    ),
    Flag(
        "max-concurrent",
        "Number of job tasks to run concurrently (default equal to --replicas)",
        type=COUNT,
    ),
    Flag("max-skew", "At most N more tasks in one zone than in another (N[@LABEL])", ("Labels", MAX_SKEW_LABEL)),
    Flag(
        "mode",
        'Service mode ("replicated", "global", "replicated-job", "global-job")',
        type=click.Choice(tuple(MODES)),
        default='"replicated"',
        commands=("create",),
    ),
    Flag("name", "Service name", commands=("create",)),
    Flag("no-healthcheck", "Disable any container-specified HEALTHCHECK", present=True),
    Flag("no-resolve-image", "Do not query the registry to resolve the image digest", present=True),
    Flag(
        "oom-score-adj",
        "Tune host's OOM preferences (-1000 to 1000)",
        (*CONTAINER, "OomScoreAdj"),
        click.IntRange(-1000, 1000),
    ),
    Flag("priority", "Whose tasks come first when the cluster is full (-1000 to 1000)", ("Labels", PRIORITY_LABEL)),
    Flag("quiet", "Suppress progress output", short="-q", present=True),
    Flag(
        "rebalance",
        "Move tasks to returned and new nodes by itself",
        ("Labels", rollout.REBALANCE_LABEL),
        click.Choice(("auto", "off")),
        '"off"',
    ),
    Flag(
        "rebalance-after",
        "How long a node must have been there before tasks move to it",
        ("Labels", rollout.REBALANCE_AFTER_LABEL),
        DURATION,
        rollout.DEFAULT_REBALANCE_AFTER,
        to_spec=go_duration,
    ),
    Flag(
        "read-only",
        "Mount the container's root filesystem as read only",
        (*CONTAINER, "ReadOnly"),
        switch=True,
    ),
    Flag("replicas", "Number of tasks", type=COUNT),
    Flag(
        "replicas-max-per-node",
        "Maximum number of replicas per node (0 means unlimited)",
        (*PLACEMENT, "MaxReplicas"),
        COUNT,
        "0",
    ),
    Flag("reserve-cpu", "Reserve CPUs", (*RESERVATIONS, "NanoCPUs"), CPUS),
    Flag("reserve-memory", "Reserve Memory", (*RESERVATIONS, "MemoryBytes"), BYTES),
    Flag(
        "restart-condition",
        "Restart when condition is met",
        (*RESTART, "Condition"),
        click.Choice(RESTART_CONDITIONS),
        '"any"',
    ),
    Flag("restart-delay", "Delay between restart attempts", (*RESTART, "Delay"), DURATION, "5s"),
    Flag("restart-max-attempts", "Maximum number of restarts before giving up", (*RESTART, "MaxAttempts"), COUNT),
    Flag("restart-window", "Window used to evaluate the restart policy", (*RESTART, "Window"), DURATION),
    Flag("rollback", "Rollback to previous specification", present=True, commands=("update",)),
    *_policy_flags("RollbackConfig", "rollback", "rolled back", ROLLBACK_FAILURE_ACTIONS),
    Flag(
        "stop-grace-period",
        "Time to wait before force killing a container",
        (*CONTAINER, "StopGracePeriod"),
        DURATION,
        "10s",
    ),
    Flag("stop-signal", "Signal to stop the container", (*CONTAINER, "StopSignal")),
    Flag("tty", "Allocate a pseudo-TTY", (*CONTAINER, "TTY"), short="-t", switch=True),
    *_label_flags(HOOKS),
    *_label_flags(PRIVILEGES),
    *_label_flags(SCHEDULE),
    *_label_flags(AUTOSCALE),
    *_policy_flags("UpdateConfig", "update", "updated", FAILURE_ACTIONS),
    Flag(
        "update-canary",
        "Number of tasks to update first, before the update waits for a promotion",
        ("Labels", rollout.CANARY_LABEL),
        click.IntRange(1, rollout.MAX_CANARIES),
        to_spec=str,
    ),
    Flag(
        "update-canary-monitor",
        "How long the first tasks must run for the update to go on by itself",
        ("Labels", rollout.CANARY_MONITOR_LABEL),
        DURATION,
        to_spec=go_duration,
    ),
    Flag("user", "Username or UID (format: <name|uid>[:<group|gid>])", (*CONTAINER, "User"), short="-u"),
    Flag("with-registry-auth", "Send registry authentication details to the nodes", present=True),
    Flag("workdir", "Working directory inside the container", (*CONTAINER, "Dir"), short="-w"),
)

LISTS: tuple[ListFlag, ...] = (
    ListFlag(
        "config",
        "Specify configurations to expose to the service",
        "config",
        (*CONTAINER, "Configs"),
        lambda text, ids: values.parse_file_reference(text, "Config", ids.configs),
        lambda item: str(item["ConfigName"]),
        metavar="config",
        completion="config",
    ),
    MapFlag("container-label", "Container labels", "container label", (*CONTAINER, "Labels"), removed_by="key"),
    ListFlag("constraint", "Placement constraints", "placement constraint", (*PLACEMENT, "Constraints")),
    ListFlag("dns", "Set custom DNS servers", "custom DNS server", (*DNS, "Nameservers")),
    ListFlag("dns-option", "Set DNS options", "DNS option", (*DNS, "Options")),
    ListFlag("dns-search", "Set custom DNS search domains", "DNS search domain", (*DNS, "Search")),
    ListFlag(
        "env",
        "Set environment variables",
        "environment variable",
        (*CONTAINER, "Env"),
        identity=lambda item: str(item).partition("=")[0],
        short="-e",
        removed_by="name",
    ),
    ListFlag(
        "generic-resource",
        "User defined resources (KIND=COUNT)",
        "generic resource",
        (*RESERVATIONS, "GenericResources"),
        lambda text, _: values.parse_generic_resource(text),
        lambda item: str(item["DiscreteResourceSpec"]["Kind"]),
        removed_by="kind",
    ),
    ListFlag(
        "group", "Set supplementary user groups for the container", "supplementary user group", (*CONTAINER, "Groups")
    ),
    ListFlag(
        "host",
        "Set custom host-to-IP mappings (host:ip)",
        "custom host-to-IP mapping (host:ip)",
        (*CONTAINER, "Hosts"),
        lambda text, _: values.parse_host(text),
        reference=lambda text, _: values.parse_host(text) if ":" in text else text,
    ),
    MapFlag("label", "Service labels", "service label", ("Labels",), short="-l", removed_by="key"),
    ListFlag(
        "mount",
        "Attach a filesystem mount to the service",
        "mount",
        (*CONTAINER, "Mounts"),
        lambda text, _: parse_service_mount(text),
        lambda item: str(item["Target"]),
        metavar="mount",
        removed_by="target path",
    ),
    ListFlag(
        "network",
        "Network attachments",
        "network",
        ("TaskTemplate", "Networks"),
        lambda text, ids: values.parse_network(text, ids.networks),
        lambda item: str(item["Target"]),
        reference=lambda text, ids: ids.networks.get(text, text),
        metavar="network",
        completion="network",
    ),
    ListFlag(
        "placement-pref",
        "Add a placement preference (spread=LABEL)",
        "placement preference",
        (*PLACEMENT, "Preferences"),
        lambda text, _: values.parse_placement_preference(text),
        lambda item: f"spread={item['Spread']['SpreadDescriptor']}",
        metavar="pref",
    ),
    ListFlag(
        "publish",
        "Publish a port as a node port",
        "published port",
        ("EndpointSpec", "Ports"),
        lambda text, _: parse_port(text),
        port_identity,
        reference=lambda text, _: port_reference(parse_port(text)),
        removal_identity=port_reference,
        expand=expand_ports,
        short="-p",
        metavar="port",
        removed_by="target port",
    ),
    ListFlag(
        "secret",
        "Specify secrets to expose to the service",
        "secret",
        (*CONTAINER, "Secrets"),
        lambda text, ids: values.parse_file_reference(text, "Secret", ids.secrets),
        lambda item: str(item["SecretName"]),
        metavar="secret",
        completion="secret",
    ),
    MapFlag("sysctl", "Sysctl options", "sysctl option", (*CONTAINER, "Sysctls"), removed_by="name"),
    ListFlag(
        "ulimit",
        "Ulimit options (NAME=SOFT[:HARD])",
        "ulimit option",
        (*CONTAINER, "Ulimits"),
        lambda text, _: values.parse_ulimit(text),
        lambda item: str(item["Name"]),
        metavar="ulimit",
        removed_by="name",
    ),
)
