"""Click groups that import a command's module only when the command is used.

Invariant: listing, help and completion of command names import no command module. The table of entries has all they need.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click

from cli.command import (
    Command,
    Option,
    not_supported,
    plain_switches,
    write_description,
    write_options,
    write_rows,
    write_usage,
)

MANAGEMENT, COMMANDS = "Management Commands", "Commands"


class CommandEntry(NamedTuple):
    """One row of the command table.

    ``target`` is ``module:attribute`` of a command; ``children`` is the table of a group, and ``options`` is ``module:attribute`` of the
    group's own options. ``instead`` marks a command that docker has and Covey lacks, and says what to use instead; such commands are not
    listed.
    """

    help: str
    target: str = ""
    aliases: tuple[str, ...] = ()
    children: Mapping[str, "CommandEntry"] = {}
    section: str = ""
    instead: str = ""
    options: str = ""


class LazyGroup(click.Group):
    """A group over a table of entries. ``paths`` maps the target of each command to all paths that lead to it."""

    def __init__(
        self,
        entries: Mapping[str, CommandEntry],
        *,
        sections: tuple[str, ...] = (MANAGEMENT, COMMANDS),
        paths: Mapping[str, tuple[str, ...]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.entries = entries
        self.sections = sections
        self.paths = command_paths(entries) if paths is None else paths
        self._names = {alias: name for name, entry in entries.items() for alias in (name, *entry.aliases)}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, plain_switches(args, [*self._options()], interspersed=False))

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [name for name, entry in self.entries.items() if not entry.instead]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "help":
            return _help_command(self)
        name = self._names.get(cmd_name)
        if name is None:
            return None
        entry = self.entries[name]
        if entry.instead:
            return not_supported(f"{ctx.command_path} {name}", name, entry.instead)
        if entry.children:
            return LazyGroup(
                entry.children,
                name=name,
                help=entry.help,
                no_args_is_help=True,
                paths=self.paths,
                params=[*_attribute(entry.options)] if entry.options else [],
            )
        return self._load(ctx, entry)

    def _load(self, ctx: click.Context, entry: CommandEntry) -> click.Command:
        command = _attribute(entry.target)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.target} is not a command")
        if isinstance(command, Command):
            program = ctx.find_root().info_name or "covey"
            command.aliases = tuple(f"{program} {path}" for path in self.paths[entry.target])
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        _, command, rest = super().resolve_command(ctx, args)
        return (self._names.get(args[0], args[0]) if command else None), command, rest

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        listed = ((name, self.entries[name].help) for name in self.list_commands(ctx))
        names = [CompletionItem(name, help=text) for name, text in listed if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_usage(formatter, ctx.command_path, ["[OPTIONS]"] * bool(self._options()) + ["COMMAND"])

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        write_description(formatter, self.help)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        write_options(formatter, "Global Options", self._options())

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        listed = [(name, self.entries[name]) for name in self.list_commands(ctx)]
        for section in self.sections:
            rows = [(name, entry.help) for name, entry in listed if _section(entry) == section]
            if rows:
                with formatter.section(section):
                    write_rows(formatter, rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        formatter.write_text(f"Run '{ctx.command_path} COMMAND --help' for more information on a command.")

    def _options(self) -> list[Option]:
        return [param for param in self.params if isinstance(param, Option)]


def _attribute(target: str) -> Any:
    module, attribute = target.split(":")
    return getattr(import_module(module), attribute)


def command_paths(entries: Mapping[str, CommandEntry]) -> dict[str, tuple[str, ...]]:
    """All paths of each target, those below a group first."""
    found: dict[str, list[str]] = {}
    for target, path in sorted(_paths(entries), key=lambda item: " " not in item[1]):
        found.setdefault(target, []).append(path)
    return {target: tuple(paths) for target, paths in found.items()}


def _paths(entries: Mapping[str, CommandEntry], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, entry in entries.items():
        if entry.children:
            yield from _paths(entry.children, f"{prefix}{name} ")
        elif entry.target:
            yield from ((entry.target, f"{prefix}{alias}") for alias in (name, *entry.aliases))


def _section(entry: CommandEntry) -> str:
    return entry.section or (MANAGEMENT if entry.children else COMMANDS)


def _help_command(group: LazyGroup) -> click.Command:
    """``help [COMMAND...]`` of a group: prints what ``COMMAND... --help`` prints."""

    @click.command("help", hidden=True, context_settings={"ignore_unknown_options": True})
    @click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND...]")
    @click.pass_context
    def show(ctx: click.Context, words: tuple[str, ...]) -> None:
        context = ctx.parent or ctx
        command: click.Command = group
        for position, word in enumerate(words):
            if not isinstance(command, LazyGroup):
                break
            name, found, _ = command.resolve_command(context, [word])
            if found is None:
                return
            if not isinstance(found, Command | LazyGroup):  # not supported, or another program's command
                found.main(
                    [*words[position + 1 :], "--help"],
                    prog_name=f"{context.command_path} {word}",
                    standalone_mode=False,
                )
                return
            command, context = found, click.Context(found, info_name=name, parent=context)
        click.echo(command.get_help(context))

    return show
