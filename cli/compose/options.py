"""The options of ``covey compose`` before its commands, and those that several commands have."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cli.command import Option, option

F = TypeVar("F", bound=Callable[..., Any])

GROUP_OPTIONS = (
    Option(
        ["--ansi"],
        type=click.Choice(["never", "always", "auto"]),
        default="auto",
        help="Control when to print ANSI control characters",
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
