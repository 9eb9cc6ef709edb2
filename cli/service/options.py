"""The flags of ``service create`` and ``service update``: Docker's names, as click options that stay None when they are not given."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from cli.format.units import parse_bytes, parse_duration
from covey.errors import InvalidArgumentError

Decorator = Callable[[Any], Any]
NANO = 1_000_000_000
MINIMUM_MEMORY = 4 << 20


class ParsedParam(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A flag's text through one of our parsers; what does not parse is wrong usage."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except InvalidArgumentError as error:
            self.fail(error.message, param, ctx)


def parse_cpus(text: str) -> int:
    """Billionths of a processor.

    Raises:
        InvalidArgumentError: no decimal number, or finer than a billionth.
    """
    try:
        nano = Decimal(text) * NANO
    except InvalidOperation:
        raise InvalidArgumentError(f"{text!r} is not a number of CPUs such as 0.5") from None
    if nano != int(nano) or nano < 0:
        raise InvalidArgumentError(f"{text!r} is not a number of CPUs such as 0.5")
    return int(nano)


DURATION, BYTES, CPUS = (
    ParsedParam("duration", parse_duration),
    ParsedParam("bytes", parse_bytes),
    ParsedParam("decimal", parse_cpus),
)
COUNT = click.IntRange(0)
_ORDER = click.Choice(["start-first", "stop-first"])


def _policy(word: str, what: str, actions: list[str]) -> list[Decorator]:
    return [
        click.option(f"--{word}-parallelism", type=COUNT, help=f"How many tasks are {what} at once; 0 is all."),
        click.option(f"--{word}-delay", type=DURATION, help="How long to wait between them."),
        click.option(f"--{word}-failure-action", type=click.Choice(actions), help="What to do when too many fail."),
        click.option(f"--{word}-monitor", type=DURATION, help="How long to watch each for failure."),
        click.option(f"--{word}-max-failure-ratio", type=click.FloatRange(0, 1), help="How many may fail."),
        click.option(f"--{word}-order", type=_ORDER, help="Whether the new task starts before the old one stops."),
    ]


SCALARS: list[Decorator] = [
    click.option("--replicas", type=COUNT, help="How many tasks."),
    click.option("--replicas-max-per-node", type=COUNT, help="How many tasks a node may run at most; 0 is any number."),
    click.option("--max-concurrent", type=COUNT, help="How many tasks of a job run at once."),
    click.option("--hostname", help="The containers' hostname; may have placeholders such as {{.Task.Slot}}."),
    click.option("-u", "--user", help="As this user: NAME|UID[:GROUP|GID]."),
    click.option("-w", "--workdir", help="In this folder of the container."),
    click.option("-t", "--tty/--no-tty", default=None, help="With a terminal."),
    click.option("--read-only/--no-read-only", default=None, help="With a root filesystem that cannot be written."),
    click.option("--init/--no-init", default=None, help="With an init that reaps processes and passes signals on."),
    click.option("--stop-signal", help="The signal that stops a container."),
    click.option("--stop-grace-period", type=DURATION, help="How long a container may take to stop (default 10s)."),
    click.option("--entrypoint", help="In place of the image's entrypoint."),
    click.option(
        "--endpoint-mode", type=click.Choice(["vip", "dnsrr"]), help="One address for all tasks, or DNS alone."
    ),
    click.option("--limit-cpu", type=CPUS, help="How many CPUs a task may use."),
    click.option("--limit-memory", type=BYTES, help="How much memory a task may use."),
    click.option("--limit-pids", type=COUNT, help="How many processes a task may have; 0 is any number."),
    click.option("--reserve-cpu", type=CPUS, help="How many CPUs to keep for a task."),
    click.option("--reserve-memory", type=BYTES, help="How much memory to keep for a task."),
    click.option("--restart-condition", type=click.Choice(["none", "on-failure", "any"]), help="When to restart."),
    click.option("--restart-delay", type=DURATION, help="How long to wait before a restart (default 5s)."),
    click.option("--restart-max-attempts", type=COUNT, help="How often to restart before giving up."),
    click.option("--restart-window", type=DURATION, help="The time in which attempts count."),
    *_policy("update", "updated", ["pause", "continue", "rollback"]),
    *_policy("rollback", "rolled back", ["pause", "continue"]),
    click.option("--health-cmd", help="The command that checks health."),
    click.option("--health-interval", type=DURATION, help="How long between checks."),
    click.option("--health-timeout", type=DURATION, help="How long a check may take."),
    click.option("--health-retries", type=COUNT, help="How many failures make a task unhealthy."),
    click.option("--health-start-period", type=DURATION, help="How long failures do not count at first."),
    click.option("--health-start-interval", type=DURATION, help="How long between checks at first."),
    click.option("--no-healthcheck", is_flag=True, default=None, help="Without the image's check."),
    click.option(
        "--oom-score-adj", type=click.IntRange(-1000, 1000), help="Whom the kernel ends first without memory."
    ),
    click.option("--log-driver", help="Where logs go."),
    click.option("--log-opt", multiple=True, metavar="KEY=VALUE", help="Options of the log driver."),
    click.option("-d", "--detach", is_flag=True, help="Do not wait until the service has converged."),
    click.option("-q", "--quiet", is_flag=True, help="Show no progress."),
    click.option("--with-registry-auth", is_flag=True, hidden=True),
    click.option("--no-resolve-image", is_flag=True, hidden=True),
]

# Lists: the flag of create (update has it with -add and -rm), what it takes, its help.
LISTS: tuple[tuple[str, str, str], ...] = (
    ("cap-add", "CAPABILITY", "Add capabilities."),
    ("cap-drop", "CAPABILITY", "Drop capabilities."),
    ("config", "NAME|source=,target=,uid=,gid=,mode=", "Configs as files."),
    ("constraint", "EXPRESSION", "Where tasks may run, such as node.role==worker."),
    ("container-label", "KEY=VALUE", "Labels of the containers."),
    ("dns", "IP", "Nameservers."),
    ("dns-option", "OPTION", "Options of the resolver."),
    ("dns-search", "DOMAIN", "Domains to search."),
    ("env", "KEY=VALUE", "Environment variables."),
    ("generic-resource", "KIND=COUNT", "Resources that nodes offer."),
    ("group", "GROUP", "Further groups of the user."),
    ("host", "HOST:IP", "Lines of /etc/hosts."),
    ("label", "KEY=VALUE", "Labels of the service."),
    ("mount", "type=,source=,target=", "Mounts."),
    ("network", "NAME|name=,alias=", "Networks."),
    ("placement-pref", "spread=LABEL", "What to spread tasks over."),
    ("publish", "PORT:PORT|published=,target=", "Ports to publish."),
    ("secret", "NAME|source=,target=,uid=,gid=,mode=", "Secrets as files."),
    ("sysctl", "KEY=VALUE", "Kernel settings of the container."),
    ("ulimit", "NAME=SOFT[:HARD]", "Limits of processes."),
)
_SHORT = {"env": "-e", "label": "-l", "publish": "-p"}


def create_options(function: Any) -> Any:
    for flag, what, text in reversed(LISTS):
        names = [name for name in (_SHORT.get(flag), f"--{flag}") if name]
        function = click.option(*names, key(flag), multiple=True, metavar=what, help=text)(function)
    return _scalars(function)


def update_options(function: Any) -> Any:
    """``cap-add`` and ``cap-drop`` are their own additions: what is named in one leaves the other."""
    for flag, what, text in reversed(LISTS):
        if flag.startswith("cap-"):
            function = click.option(f"--{flag}", f"{key(flag)}_add", multiple=True, metavar=what, help=text)(function)
            continue
        function = click.option(f"--{flag}-add", multiple=True, metavar=what, help=f"Add or change: {text}")(function)
        function = click.option(f"--{flag}-rm", multiple=True, help=f"Remove: {text}")(function)
    return _scalars(function)


def _scalars(function: Any) -> Any:
    for option in reversed(SCALARS):
        function = option(function)
    return function


def key(flag: str) -> str:
    return flag.replace("-", "_")
