"""``covey completion``: prints the completion script of a shell."""

import click
from click.shell_completion import get_completion_class

from cli.command import command


@command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Generate the autocompletion script for a shell.

    To use it in the current shell, run: eval "$(covey completion bash)"
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    root = ctx.find_root()
    click.echo(kind(root.command, {}, "covey", "_COVEY_COMPLETE").source())
