"""``covey lab`` hands over to the lab, in the same environment: it is made of the host's own parts, which this command never imports."""

import os
import sys

import click


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lab(arguments: tuple[str, ...]) -> None:
    """Run clusters of hosts made of namespaces on this machine."""
    os.execv(sys.executable, [sys.executable, "-m", "node.lab", *arguments])
