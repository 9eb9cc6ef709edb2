"""The flags of ``service create`` and ``service update`` that set fields of the service spec: one row for each flag.

A row gives the flag's name, type and help, the path of the field in the spec, and the key of a stack file that sets the same field. From
the rows follow the click options (``cli.service.options``), the spec (``cli.service.spec``) and the stack's services
(``cli.stack.service_spec``). Flags with a rule of their own (``--replicas``, ``--entrypoint``, ``--health-cmd``) are in ``options``.
"""

from collections.abc import Callable
from typing import Any

import click
import msgspec

from cli.parse import flag_values
from cli.parse.param_types import BYTES, COUNT, CPUS, DURATION


class ObjectIds(msgspec.Struct, frozen=True, kw_only=True):
    """Ids by name."""

    secrets: dict[str, str] = {}
    configs: dict[str, str] = {}
    networks: dict[str, str] = {}


TEXT = click.STRING
SWITCH = click.BOOL
"""``--tty`` and ``--no-tty``."""


class ScalarFlag(msgspec.Struct, frozen=True, kw_only=True):
    """A flag with one value. ``path`` is the field of the spec; ``stack_key`` the key of a service in a stack file, or empty."""

    name: str
    path: tuple[str, ...]
    help: str
    type: Any = TEXT
    short: str = ""
    stack_key: str = ""


class ListFlag(msgspec.Struct, frozen=True, kw_only=True):
    """A flag that may be given several times: ``--NAME`` of create, ``--NAME-add`` and ``--NAME-rm`` of update.

    ``parse`` gives the entry of the spec for one value; ``identity`` the name by which an entry is replaced or removed. Without ``parse``
    the values are ``KEY=VALUE`` and go into a map. An empty ``path`` has a rule of its own in ``cli.service.spec``.
    """

    name: str
    path: tuple[str, ...]
    metavar: str
    help: str
    parse: Callable[[str, ObjectIds], Any] | None = None
    identity: Callable[[Any], str] = str
    short: str = ""


def _text(text: str, _: ObjectIds) -> str:
    return text


_TASK = ("TaskTemplate",)
_CONTAINER = (*_TASK, "ContainerSpec")
_LIMITS, _RESERVATIONS = (*_TASK, "Resources", "Limits"), (*_TASK, "Resources", "Reservations")
_ORDER = click.Choice(["start-first", "stop-first"])


def _update_flags(word: str, what: str, actions: list[str]) -> list[ScalarFlag]:
    """The flags of an update or rollback policy."""
    path = f"{word.capitalize()}Config"
    return [
        ScalarFlag(
            name=f"{word}-parallelism",
            path=(path, "Parallelism"),
            type=COUNT,
            help=f"How many tasks are {what} at once; 0 is all.",
        ),
        ScalarFlag(name=f"{word}-delay", path=(path, "Delay"), type=DURATION, help="How long to wait between them."),
        ScalarFlag(
            name=f"{word}-failure-action",
            path=(path, "FailureAction"),
            type=click.Choice(actions),
            help="What to do when too many fail.",
        ),
        ScalarFlag(
            name=f"{word}-monitor", path=(path, "Monitor"), type=DURATION, help="How long to watch each for failure."
        ),
        ScalarFlag(
            name=f"{word}-max-failure-ratio",
            path=(path, "MaxFailureRatio"),
            type=click.FloatRange(0, 1),
            help="How many may fail.",
        ),
        ScalarFlag(
            name=f"{word}-order",
            path=(path, "Order"),
            type=_ORDER,
            help="Whether the new task starts before the old one stops.",
        ),
    ]


SCALAR_FLAGS: tuple[ScalarFlag, ...] = (
    ScalarFlag(
        name="replicas-max-per-node",
        path=(*_TASK, "Placement", "MaxReplicas"),
        type=COUNT,
        help="How many tasks a node may run at most; 0 is any number.",
    ),
    ScalarFlag(
        name="hostname",
        path=(*_CONTAINER, "Hostname"),
        stack_key="hostname",
        help="The containers' hostname; may have placeholders such as {{.Task.Slot}}.",
    ),
    ScalarFlag(
        name="user",
        short="-u",
        path=(*_CONTAINER, "User"),
        stack_key="user",
        help="As this user: NAME|UID[:GROUP|GID].",
    ),
    ScalarFlag(
        name="workdir",
        short="-w",
        path=(*_CONTAINER, "Dir"),
        stack_key="working_dir",
        help="In this folder of the container.",
    ),
    ScalarFlag(
        name="tty", short="-t", path=(*_CONTAINER, "TTY"), type=SWITCH, stack_key="tty", help="With a terminal."
    ),
    ScalarFlag(
        name="read-only",
        path=(*_CONTAINER, "ReadOnly"),
        type=SWITCH,
        stack_key="read_only",
        help="With a root filesystem that cannot be written.",
    ),
    ScalarFlag(
        name="init",
        path=(*_CONTAINER, "Init"),
        type=SWITCH,
        stack_key="init",
        help="With an init that reaps processes and passes signals on.",
    ),
    ScalarFlag(
        name="stop-signal",
        path=(*_CONTAINER, "StopSignal"),
        stack_key="stop_signal",
        help="The signal that stops a container.",
    ),
    ScalarFlag(
        name="stop-grace-period",
        path=(*_CONTAINER, "StopGracePeriod"),
        type=DURATION,
        stack_key="stop_grace_period",
        help="How long a container may take to stop (default 10s).",
    ),
    ScalarFlag(
        name="endpoint-mode",
        path=("EndpointSpec", "Mode"),
        type=click.Choice(["vip", "dnsrr"]),
        help="One address for all tasks, or DNS alone.",
    ),
    ScalarFlag(name="limit-cpu", path=(*_LIMITS, "NanoCPUs"), type=CPUS, help="How many CPUs a task may use."),
    ScalarFlag(name="limit-memory", path=(*_LIMITS, "MemoryBytes"), type=BYTES, help="How much memory a task may use."),
    ScalarFlag(
        name="limit-pids",
        path=(*_LIMITS, "Pids"),
        type=COUNT,
        help="How many processes a task may have; 0 is any number.",
    ),
    ScalarFlag(
        name="reserve-cpu", path=(*_RESERVATIONS, "NanoCPUs"), type=CPUS, help="How many CPUs to keep for a task."
    ),
    ScalarFlag(
        name="reserve-memory",
        path=(*_RESERVATIONS, "MemoryBytes"),
        type=BYTES,
        help="How much memory to keep for a task.",
    ),
    ScalarFlag(
        name="restart-condition",
        path=(*_TASK, "RestartPolicy", "Condition"),
        type=click.Choice(["none", "on-failure", "any"]),
        help="When to restart.",
    ),
    ScalarFlag(
        name="restart-delay",
        path=(*_TASK, "RestartPolicy", "Delay"),
        type=DURATION,
        help="How long to wait before a restart (default 5s).",
    ),
    ScalarFlag(
        name="restart-max-attempts",
        path=(*_TASK, "RestartPolicy", "MaxAttempts"),
        type=COUNT,
        help="How often to restart before giving up.",
    ),
    ScalarFlag(
        name="restart-window",
        path=(*_TASK, "RestartPolicy", "Window"),
        type=DURATION,
        help="The time in which attempts count.",
    ),
    *_update_flags("update", "updated", ["pause", "continue", "rollback"]),
    *_update_flags("rollback", "rolled back", ["pause", "continue"]),
    ScalarFlag(
        name="health-interval",
        path=(*_CONTAINER, "Healthcheck", "Interval"),
        type=DURATION,
        help="How long between checks.",
    ),
    ScalarFlag(
        name="health-timeout",
        path=(*_CONTAINER, "Healthcheck", "Timeout"),
        type=DURATION,
        help="How long a check may take.",
    ),
    ScalarFlag(
        name="health-retries",
        path=(*_CONTAINER, "Healthcheck", "Retries"),
        type=COUNT,
        help="How many failures make a task unhealthy.",
    ),
    ScalarFlag(
        name="health-start-period",
        path=(*_CONTAINER, "Healthcheck", "StartPeriod"),
        type=DURATION,
        help="How long failures do not count at first.",
    ),
    ScalarFlag(
        name="health-start-interval",
        path=(*_CONTAINER, "Healthcheck", "StartInterval"),
        type=DURATION,
        help="How long between checks at first.",
    ),
    ScalarFlag(
        name="oom-score-adj",
        path=(*_CONTAINER, "OomScoreAdj"),
        type=click.IntRange(-1000, 1000),
        help="Whom the kernel ends first without memory.",
    ),
    ScalarFlag(name="log-driver", path=(*_TASK, "LogDriver", "Name"), help="Where logs go."),
)

LIST_FLAGS: tuple[ListFlag, ...] = (
    ListFlag(name="cap-add", metavar="CAPABILITY", help="Add capabilities.", path=()),
    ListFlag(name="cap-drop", metavar="CAPABILITY", help="Drop capabilities.", path=()),
    ListFlag(
        name="config",
        metavar="NAME|source=,target=,uid=,gid=,mode=",
        help="Configs as files.",
        path=(*_CONTAINER, "Configs"),
        parse=lambda text, names: flag_values.parse_file_reference(text, "Config", names.configs),
        identity=lambda item: str(item["ConfigName"]),
    ),
    ListFlag(
        name="constraint",
        metavar="EXPRESSION",
        help="Where tasks may run, such as node.role==worker.",
        path=(*_TASK, "Placement", "Constraints"),
        parse=_text,
    ),
    ListFlag(
        name="container-label", metavar="KEY=VALUE", help="Labels of the containers.", path=(*_CONTAINER, "Labels")
    ),
    ListFlag(
        name="dns", metavar="IP", help="Nameservers.", path=(*_CONTAINER, "DNSConfig", "Nameservers"), parse=_text
    ),
    ListFlag(
        name="dns-option",
        metavar="OPTION",
        help="Options of the resolver.",
        path=(*_CONTAINER, "DNSConfig", "Options"),
        parse=_text,
    ),
    ListFlag(
        name="dns-search",
        metavar="DOMAIN",
        help="Domains to search.",
        path=(*_CONTAINER, "DNSConfig", "Search"),
        parse=_text,
    ),
    ListFlag(
        name="env",
        short="-e",
        metavar="KEY=VALUE",
        help="Environment variables.",
        path=(*_CONTAINER, "Env"),
        parse=_text,
        identity=lambda item: str(item).partition("=")[0],
    ),
    ListFlag(
        name="generic-resource",
        metavar="KIND=COUNT",
        help="Resources that nodes offer.",
        path=(*_RESERVATIONS, "GenericResources"),
        parse=lambda text, _: flag_values.parse_generic_resource(text),
        identity=lambda item: str(item["DiscreteResourceSpec"]["Kind"]),
    ),
    ListFlag(
        name="group", metavar="GROUP", help="Further groups of the user.", path=(*_CONTAINER, "Groups"), parse=_text
    ),
    ListFlag(
        name="host",
        metavar="HOST:IP",
        help="Lines of /etc/hosts.",
        path=(*_CONTAINER, "Hosts"),
        parse=lambda text, _: flag_values.parse_host(text),
    ),
    ListFlag(name="label", short="-l", metavar="KEY=VALUE", help="Labels of the service.", path=("Labels",)),
    ListFlag(
        name="mount",
        metavar="type=,source=,target=",
        help="Mounts.",
        path=(*_CONTAINER, "Mounts"),
        parse=lambda text, _: flag_values.parse_mount(text),
        identity=lambda item: str(item["Target"]),
    ),
    ListFlag(
        name="network",
        metavar="NAME|name=,alias=",
        help="Networks.",
        path=(*_TASK, "Networks"),
        parse=lambda text, names: flag_values.parse_network(text, names.networks),
        identity=lambda item: str(item["Target"]),
    ),
    ListFlag(
        name="placement-pref",
        metavar="spread=LABEL",
        help="What to spread tasks over.",
        path=(*_TASK, "Placement", "Preferences"),
        parse=lambda text, _: flag_values.parse_placement_preference(text),
        identity=lambda item: f"spread={item['Spread']['SpreadDescriptor']}",
    ),
    ListFlag(
        name="publish",
        short="-p",
        metavar="PORT:PORT|published=,target=",
        help="Ports to publish.",
        path=("EndpointSpec", "Ports"),
        parse=lambda text, _: flag_values.parse_port(text),
        identity=lambda item: f"{item['TargetPort']}/{item.get('Protocol', 'tcp')}",
    ),
    ListFlag(
        name="secret",
        metavar="NAME|source=,target=,uid=,gid=,mode=",
        help="Secrets as files.",
        path=(*_CONTAINER, "Secrets"),
        parse=lambda text, names: flag_values.parse_file_reference(text, "Secret", names.secrets),
        identity=lambda item: str(item["SecretName"]),
    ),
    ListFlag(
        name="sysctl", metavar="KEY=VALUE", help="Kernel settings of the container.", path=(*_CONTAINER, "Sysctls")
    ),
    ListFlag(
        name="ulimit",
        metavar="NAME=SOFT[:HARD]",
        help="Limits of processes.",
        path=(*_CONTAINER, "Ulimits"),
        parse=lambda text, _: flag_values.parse_ulimit(text),
        identity=lambda item: str(item["Name"]),
    ),
)


def parameter(flag: str) -> str:
    """The name under which click hands over a flag's value."""
    return flag.replace("-", "_")
