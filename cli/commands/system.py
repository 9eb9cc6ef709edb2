"""``covey version`` and ``covey info``."""

import json
import os
import platform
import sys
from contextlib import suppress
from typing import Any

import click

from cli import options, output
from cli.client import API_VERSION, UnreachableError
from cli.command import command, option

_METADATA = ("covey-", ".dist-info")


def own_version() -> str:
    """The version of this command, from the name of the directory in which its metadata is installed. ``importlib.metadata`` reads the
    same and costs half the time of a simple command.
    """
    for directory in sys.path:
        with suppress(OSError):
            for name in os.listdir(directory):  # noqa: PTH208 - names are wanted
                if name.startswith(_METADATA[0]) and name.endswith(_METADATA[1]):
                    return name.removeprefix(_METADATA[0]).removesuffix(_METADATA[1])
    return "unknown"


@command()
@option("-f", "--format", "form", default="", metavar="string", help='Format output: "json" or a Go template')
def version(form: str) -> int:
    """Show the Covey version information."""
    client: dict[str, Any] = {
        "Version": own_version(),
        "ApiVersion": API_VERSION,
        "DefaultAPIVersion": API_VERSION,
        "PythonVersion": platform.python_version(),
        "Os": platform.system().lower(),
        "Arch": _architecture(platform.machine()),
    }
    server, problem = None, None
    try:
        server = options.client().get("/version")
    except UnreachableError as error:
        problem = error
    both = {"Client": client, "Server": server}
    if form == "json":
        click.echo(json.dumps(both, separators=(",", ":")))
    elif form:
        from cli.format.template import Template

        click.echo(Template(form).render(both))
    else:
        _print_version(client, server)
    if problem:
        output.print_error(problem)
    return int(problem is not None)


@command()
@option("-f", "--format", "form", default="", metavar="string", help='Format output: "json" or a Go template')
def info(form: str) -> int:
    """Display system-wide information."""
    found = options.client().get("/info")
    if form == "json":
        click.echo(json.dumps(found, separators=(",", ":"), ensure_ascii=False))
    elif form:
        from cli.format.template import Template

        click.echo(Template(form).render(found))
    else:
        from cli.pretty.info import info as text

        click.echo(text(found), nl=False)
        for warning in found.get("Warnings") or []:
            click.echo(warning, err=True)
    return 0


def _print_version(client: dict[str, Any], server: dict[str, Any] | None) -> None:
    click.echo("Client:")
    for name, key in (("Version", "Version"), ("API version", "ApiVersion"), ("Python version", "PythonVersion")):
        click.echo(f" {name + ':':18}{client[key]}")
    click.echo(f" {'OS/Arch:':18}{client['Os']}/{client['Arch']}")
    if server is None:
        return
    click.echo(f"\nServer: {(server.get('Platform') or {}).get('Name', '')}".rstrip())
    click.echo(f" {'Version:':18}{server.get('Version', '')}")
    click.echo(
        f" {'API version:':18}{server.get('ApiVersion', '')} (minimum version {server.get('MinAPIVersion', '')})"
    )
    click.echo(f" {'OS/Arch:':18}{server.get('Os', '')}/{server.get('Arch', '')}")
    click.echo(f" {'Kernel version:':18}{server.get('KernelVersion', '')}")


def _architecture(machine: str) -> str:
    """Go's name of a machine architecture."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
