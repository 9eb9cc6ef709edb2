"""``covey lab``: replaces this process with ``node.lab``, which is built on modules that the command line must not import."""

import os
import sys

import click


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lab(arguments: tuple[str, ...]) -> None:
    """Manage test clusters of namespaces on this machine."""
    os.execv(sys.executable, [sys.executable, "-m", "node.lab", *arguments])
