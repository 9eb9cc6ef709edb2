"""Options and arguments shared by several commands, and the client of an invocation's daemon."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from cli.client import DaemonClient
from cli.command import Decorator, option
from cli.completion import complete
from cli.daemon_address import daemon_address
from cli.parse.param_types import DURATION

F = TypeVar("F", bound=Callable[..., Any])


def client(ctx: click.Context | None = None) -> DaemonClient:
    """The client of this invocation's daemon."""
    return DaemonClient(daemon_address((ctx or click.get_current_context()).find_root().params))


def detach_keys(given: str | None) -> str:
    """The detach keys of the flag, else those of the configuration file; empty for the default."""
    from cli import config_file

    return given or str(config_file.load(config_file.config_path()).get("detachKeys") or "")


def object_argument(name: str, *kinds: str, metavar: str = "") -> Decorator:
    """One name or id of an object. ``kinds`` are those that the shell completes."""
    return click.argument(name, metavar=metavar or name.upper(), shell_complete=complete(*kinds))


def object_arguments(name: str, *kinds: str, metavar: str = "", extra: tuple[str, ...] = ()) -> Decorator:
    """One or more names or ids of objects, ``NAME [NAME...]`` in the usage line. ``extra`` words are completed beside the names."""
    word = metavar or name.upper().removesuffix("S")
    return click.argument(
        name,
        nargs=-1,
        required=True,
        metavar=f"{word} [{word}...]",
        shell_complete=complete(*kinds, extra=extra),
    )


def format_option(function: F) -> F:
    text = 'Format output: "table", "table TEMPLATE", "json" or a Go template'
    return option("--format", "form", default="", metavar="string", help=text)(function)


def inspect_format_option(function: F) -> F:
    text = 'Format output: "json" or a Go template'
    return option("-f", "--format", "form", default="", metavar="string", help=text)(function)


def quiet_option(what: str = "IDs") -> Callable[[F], F]:
    return option("-q", "--quiet", is_flag=True, help=f"Only display {what}")


def trunc_option(function: F) -> F:
    return option("--no-trunc", is_flag=True, help="Do not truncate output")(function)


def filter_option(function: F) -> F:
    text = "Filter output based on conditions provided (KEY=VALUE)"
    return option("-f", "--filter", "filters", multiple=True, metavar="filter", help=text)(function)


def prune_options(function: F) -> F:
    """The options of all ``prune`` commands."""
    text = 'Provide filter values (e.g. "until=<timestamp>")'
    function = option("--filter", "filters", multiple=True, metavar="filter", help=text)(function)
    return option("-f", "--force", is_flag=True, help="Do not prompt for confirmation")(function)


def detach_option(what: str = "the service") -> Callable[[F], F]:
    return option("-d", "--detach", is_flag=True, help=f"Exit immediately instead of waiting for {what} to converge")


def dry_run_option(function: F) -> F:
    text = "Show what would change and where tasks would run, and change nothing"
    return option("--dry-run", is_flag=True, help=text)(function)


def timeout_option(what: str = "the service to converge") -> Callable[[F], F]:
    """``--timeout`` of a command that waits; nanoseconds, None without a limit."""
    return option(
        "--timeout",
        "timeout_ns",
        type=DURATION,
        metavar="duration",
        help=f"Maximum time to wait for {what} (ns|us|ms|s|m|h); without it there is none",
    )


def require_wait(timeout_ns: int | None, *, detach: bool) -> None:
    """Refuse a limit of a wait that there is not.

    Raises:
        click.UsageError: both options are given.
    """
    if detach and timeout_ns is not None:
        raise click.UsageError("--timeout is incompatible with --detach, which does not wait")


def progress_option(function: F) -> F:
    return option("-q", "--quiet", is_flag=True, help="Suppress progress output")(function)


def parse_filters(pairs: Sequence[str]) -> dict[str, list[str]]:
    """``KEY=VALUE`` options as the API's filters.

    Raises:
        click.BadParameter: one has no "=".
    """
    result: dict[str, list[str]] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise click.BadParameter(f"invalid argument {pair!r}: filters are KEY=VALUE", param_hint="--filter")
        result.setdefault(key.strip().lower(), []).append(value.strip())
    return result
