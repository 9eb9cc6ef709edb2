"""The options that commands share, and the client they talk through."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from cli.client import DaemonClient, daemon_host
from cli.parse.key_values import parse_bool

F = TypeVar("F", bound=Callable[..., Any])


class BooleanValueCommand(click.Command):
    """Takes ``--flag/--no-flag`` as docker's documentation writes it, too: ``--flag=true|false``. For commands without arguments, where
    no word belongs to somebody else.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [self._without_value(word) for word in args])

    def _without_value(self, word: str) -> str:
        name, equals, value = word.partition("=")
        for option in self.params if equals else ():
            if name in option.opts and option.secondary_opts:
                return name if parse_bool(value, name) else option.secondary_opts[0]
        return word


def client(ctx: click.Context | None = None) -> DaemonClient:
    """The daemon this invocation talks to."""
    context = (ctx or click.get_current_context()).find_root()
    return DaemonClient(context.obj if isinstance(context.obj, str) and context.obj else daemon_host())


def format_option(function: F) -> F:
    return click.option("--format", "form", default="", help='"table", "table TEMPLATE", "json" or a Go TEMPLATE.')(
        function
    )


def quiet_option(function: F) -> F:
    return click.option("-q", "--quiet", is_flag=True, help="Only display IDs.")(function)


def trunc_option(function: F) -> F:
    return click.option("--no-trunc", is_flag=True, help="Do not truncate output.")(function)


def filter_option(function: F) -> F:
    return click.option("-f", "--filter", "filters", multiple=True, help="Filter output: KEY=VALUE.")(function)


def inspect_format_option(function: F) -> F:
    return click.option("-f", "--format", "form", default="", help='"json" or a Go TEMPLATE for each object.')(function)


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
