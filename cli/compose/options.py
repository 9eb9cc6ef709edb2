"""The options of ``covey compose`` before its commands, and those that several commands have."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cli.command import Decorator, Option, option
from covey.errors import UnsupportedError

F = TypeVar("F", bound=Callable[..., Any])


def _refuse(reason: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """A callback that refuses the use of an option."""

    def check(_ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            raise UnsupportedError(f"{parameter.opts[-1]} is not supported: {reason}")

    return check


def refused_option(*names: str, reason: str, **settings: Any) -> Decorator:
    """An option that Docker Compose has and Covey refuses by name, with a reason and a remedy."""
    return option(*names, expose_value=False, supported=False, callback=_refuse(reason), **settings)


GROUP_OPTIONS = (
    Option(["--all-resources"], is_flag=True, help="Include all resources, even those not used by services"),
    Option(
        ["--ansi"],
        type=click.Choice(["never", "always", "auto"]),
        default="auto",
        help="Control when to print ANSI control characters",
    ),
    Option(
        ["--compatibility"],
        is_flag=True,
        expose_value=False,
        supported=False,
        callback=_refuse("containers have the names of Compose 2 and later, with hyphens; leave it out"),
        help="Run compose in backward compatibility mode",
    ),
    Option(["--dry-run"], is_flag=True, help="Execute command in dry run mode"),
    Option(
        ["--env-file", "env_files"], multiple=True, metavar="stringArray", help="Specify an alternate environment file"
    ),
    Option(["-f", "--file", "files"], multiple=True, metavar="stringArray", help="Compose configuration files"),
    Option(["--parallel"], type=int, default=-1, help="Control max parallelism, -1 for unlimited"),
    Option(["--profile", "profiles"], multiple=True, metavar="stringArray", help="Specify a profile to enable"),
    Option(
        ["--progress"],
        type=click.Choice(["auto", "tty", "plain", "json", "quiet"]),
        default="auto",
        help="Set type of progress output",
    ),
    Option(
        ["--project-directory", "directory"],
        default="",
        help="Specify an alternate working directory (default: the path of the first specified Compose file)",
    ),
    Option(["-p", "--project-name", "name"], default="", help="Project name"),
)


def services_argument(function: F) -> F:
    return click.argument("services", nargs=-1, metavar="[SERVICE...]")(function)


def timeout_option(function: F) -> F:
    return option("-t", "--timeout", type=int, default=None, help="Specify a shutdown timeout in seconds")(function)
