"""Click command and option classes whose help follows docker's layout.

Invariant: options are listed by their long name, as docker lists them, with the default value in parentheses at the end.
Every command of the ``covey`` tree is made with ``command`` and ``option`` of this module.
"""

import inspect
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]
NOT_SUPPORTED = "(not supported yet)"
GAP = 3
# Go's word for the kind of a value, by click's.
_GO_KINDS = {
    "choice": "string",
    "float range": "float",
    "integer": "int",
    "integer range": "int",
    "path": "string",
    "text": "string",
}
MIN_TEXT_WIDTH = 20


class Option(click.Option):
    """An option with a docker-style help line.

    Args:
        default_text: the value that applies when the option is absent, as the help shows it. Only needed where click has no default.
        supported: False marks an option that docker has and the cluster does not support yet.
        negation: False leaves the second name of a switch, ``--no-NAME``, out of the help.
    """

    def __init__(
        self,
        *args: Any,
        default_text: str = "",
        supported: bool = True,
        negation: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.default_text = default_text
        self.negation = negation
        self.supported = supported

    @property
    def long_name(self) -> str:
        return next((name for name in self.opts if name.startswith("--")), self.opts[0])

    def help_line(self) -> tuple[str, str]:
        """The names with the kind of value, and the description with the default."""
        short = next((f"{name}, " for name in self.opts if not name.startswith("--")), "    ")
        kind = "" if self.is_flag else f" {self._kind()}"
        parts = [self.help or "", self._choices(), self._negation(), self._default_note()]
        if not self.supported:
            parts.append(NOT_SUPPORTED)
        return f"{short}{self.long_name}{kind}", " ".join(part for part in parts if part)

    def _kind(self) -> str:
        """The kind of value as docker names it, such as ``string``, ``list`` or ``uint``."""
        if self.metavar:
            return self.metavar
        if self.multiple:
            return "list"
        if isinstance(self.type, click.IntRange) and self.type.min is not None and self.type.min >= 0:
            return "uint"
        return _GO_KINDS.get(self.type.name, self.type.name)

    def _choices(self) -> str:
        if not isinstance(self.type, click.Choice):
            return ""
        return "(" + ", ".join(f'"{choice}"' for choice in self.type.choices if choice) + ")"

    def _negation(self) -> str:
        return f"(or {self.secondary_opts[0]})" if self.secondary_opts and self.negation else ""

    def _default_note(self) -> str:
        text = self.default_text
        if not text and isinstance(self.default, str) and self.default:
            text = f'"{self.default}"'
        elif not text and isinstance(self.default, int) and self.default:
            text = str(self.default).lower()
        return f"(default {text})" if text else ""


class Command(click.Command):
    """A command with docker-style help. ``LazyGroup`` fills in ``aliases``, the paths that lead to this command."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.aliases: tuple[str, ...] = ()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        return super().parse_args(ctx, plain_switches(args, options, interspersed=ctx.allow_interspersed_args))

    def visible_options(self, ctx: click.Context) -> list[Option]:
        """The listed options, ordered by long name."""
        found = [param for param in self.get_params(ctx) if isinstance(param, Option) and not param.hidden]
        return sorted(found, key=lambda option: option.long_name)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        pieces = ["[OPTIONS]"] if self.visible_options(ctx) else []
        return [*pieces, *(piece for param in self.get_params(ctx) for piece in param.get_usage_pieces(ctx))]

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_usage(formatter, ctx.command_path, self.collect_usage_pieces(ctx))

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        write_description(formatter, self.help)
        if len(self.aliases) > 1:
            with formatter.section("Aliases"):
                formatter.write_text(", ".join(self.aliases))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_options(formatter, "Options", self.visible_options(ctx))


def plain_switches(args: list[str], options: list[click.Option], *, interspersed: bool) -> list[str]:
    """The words with docker's ``--switch=true|false`` written as click reads them: ``--switch``, ``--no-switch``, or nothing."""
    named = {name: option for option in options for name in (*option.opts, *option.secondary_opts)}
    result: list[str] = []
    at = 0
    while at < len(args):
        word = args[at]
        at += 1
        if word == "--" or (not word.startswith("-") and not interspersed):
            return [*result, word, *args[at:]]
        name, equals, value = word.partition("=")
        option = named.get(name)
        if option is not None and option.is_flag and equals:
            result += _switch(option, name, value)
            continue
        result.append(word)
        if _takes_next(word, named) and at < len(args):
            result.append(args[at])
            at += 1
    return result


def _switch(option: click.Option, name: str, value: str) -> list[str]:
    if value.lower() in ("1", "t", "true"):
        return [name]
    if value.lower() in ("0", "f", "false"):
        return option.secondary_opts[:1]
    raise click.BadParameter(f"{value!r} is not a boolean: write true or false", param_hint=name)


def _takes_next(word: str, named: dict[str, click.Option]) -> bool:
    """Whether the word after this one is the value of an option in it."""
    if word.startswith("--"):
        option = named.get(word)
        return option is not None and not option.is_flag
    for position, letter in enumerate(word[1:], 1):
        option = named.get(f"-{letter}")
        if option is None:
            return False
        if not option.is_flag:
            return position == len(word) - 1
    return False


def write_usage(formatter: click.HelpFormatter, path: str, pieces: list[str]) -> None:
    formatter.write_usage(path, " ".join(pieces), prefix="Usage:  ")


def write_description(formatter: click.HelpFormatter, text: str | None) -> None:
    """The description without a final full stop on its first line, as docker prints it."""
    if text:
        first, separator, rest = inspect.cleandoc(text).partition("\n\n")
        formatter.write_paragraph()
        formatter.write_text(f"{first.removesuffix('.')}{separator}{rest}")


def write_options(formatter: click.HelpFormatter, title: str, options: list[Option]) -> None:
    if options:
        with formatter.section(title):
            write_rows(formatter, [option.help_line() for option in options])


def write_rows(formatter: click.HelpFormatter, rows: list[tuple[str, str]]) -> None:
    """Two columns. Unlike click's ``write_dl`` it does not break words at hyphens, so that the names of flags stay whole."""
    first = max(len(name) for name, _ in rows) + GAP
    width = max(formatter.width - formatter.current_indent - first, MIN_TEXT_WIDTH)
    indent = " " * formatter.current_indent
    for name, text in rows:
        lines = textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False) or [""]
        for line in (f"{name.ljust(first)}{lines[0]}", *(" " * first + more for more in lines[1:])):
            formatter.write(f"{indent}{line}".rstrip() + "\n")


def command(name: str | None = None, **settings: Any) -> Decorator:
    """Like ``click.command``, with docker-style help."""
    return click.command(name, **{"cls": Command, **settings})


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """Like ``click.option``, with a docker-style help line."""
    return click.option(*names, cls=Option, **settings)


def not_supported(path: str, name: str, instead: str) -> click.Command:
    """A command that docker has and Covey lacks: it answers every use with one sentence and exit code 1."""

    @click.command(name, context_settings={"ignore_unknown_options": True, "help_option_names": []}, hidden=True)
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def refuse(arguments: tuple[str, ...]) -> None:
        from covey.errors import UnsupportedError

        del arguments
        raise UnsupportedError(f"'{path}' is not supported yet: {instead}")

    return refuse
