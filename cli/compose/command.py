"""The decorator of ``covey compose`` commands: each also takes ``--dry-run``, as those of Docker Compose do."""

from typing import Any

import click

from cli.command import Decorator, command, option


def _set_dry_run(ctx: click.Context, _parameter: click.Parameter, requested: bool) -> None:
    if requested and ctx.parent is not None:
        ctx.parent.params["dry_run"] = True


def compose_command(name: str | None = None, **settings: Any) -> Decorator:
    """A command of ``covey compose``."""

    def decorate(function: Any) -> Any:
        dry_run = option(
            "--dry-run",
            is_flag=True,
            expose_value=False,
            callback=_set_dry_run,
            help="Execute command in dry run mode",
        )
        return command(name, **settings)(dry_run(function))

    return decorate
