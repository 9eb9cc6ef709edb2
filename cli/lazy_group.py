"""Commands that are imported when they are used: a table says where each stands and what it is for, so help needs no more than the table.

Law: listing, help and completion of names import no module of a command.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple

import click


class CommandEntry(NamedTuple):
    """A command: ``target`` is ``module:attribute``; or a group: ``children`` is its table."""

    help: str
    target: str = ""
    aliases: tuple[str, ...] = ()
    children: Mapping[str, "CommandEntry"] = {}
    hidden: bool = False


class LazyGroup(click.Group):
    """A group over a table of entries."""

    def __init__(self, entries: Mapping[str, CommandEntry], **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.entries = entries
        self._names = {alias: name for name, entry in entries.items() for alias in (name, *entry.aliases)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [name for name, entry in self.entries.items() if not entry.hidden]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        name = self._names.get(cmd_name)
        if name is None:
            return None
        entry = self.entries[name]
        if entry.children:
            return LazyGroup(entry.children, name=name, help=entry.help, no_args_is_help=True)
        module, attribute = entry.target.split(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.target} is not a command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        _, command, rest = super().resolve_command(ctx, args)
        return (self._names.get(args[0]) if command else None), command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Groups first, as people look for a noun before a verb."""
        shown = [(name, self.entries[name]) for name in self.list_commands(ctx)]
        for title, rows in (
            ("Management commands", [(name, entry.help) for name, entry in shown if entry.children]),
            ("Commands", [(name, entry.help) for name, entry in shown if not entry.children]),
        ):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
