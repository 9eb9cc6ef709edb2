"""``covey compose`` commands on the files alone: config, version."""

from pathlib import Path
from typing import Any

import click

from cli.command import option
from cli.compose.command import compose_command
from cli.compose.options import refused_option, services_argument
from cli.compose.session import Session


@compose_command()
@services_argument
@option("--environment", is_flag=True, help="Print environment used for interpolation")
@option("--format", "form", type=click.Choice(["", "yaml", "json"]), default="", help="Format the output")
@option("--hash", "hashed", default="", help="Print the service config hash, one per line; * for all")
@option("--images", is_flag=True, help="Print the image names, one per line")
@option("--lock-image-digests", is_flag=True, help="Produces an override file with image digests")
@refused_option(
    "--models",
    is_flag=True,
    reason="this host runs no models; leave it out",
    help="Print the model names, one per line",
)
@option("--networks", is_flag=True, help="Print the network names, one per line")
@option("--no-consistency", is_flag=True, help="Don't check model consistency")
@option("--no-env-resolution", is_flag=True, help="Don't resolve service env files")
@option("--no-interpolate", is_flag=True, help="Don't interpolate environment variables")
@option("--no-normalize", is_flag=True, help="Don't normalize compose model")
@option("--no-path-resolution", is_flag=True, help="Don't resolve file paths")
@option("-o", "--output", default="", help="Save to file (default to stdout)")
@option("--profiles", is_flag=True, help="Print the profile names, one per line")
@option("-q", "--quiet", is_flag=True, help="Only validate the configuration, don't print anything")
@option("--resolve-image-digests", is_flag=True, help="Pin image tags to digests")
@option("--services", "names", is_flag=True, help="Print the service names, one per line")
@option("--variables", is_flag=True, help="Print model variables and default values")
@option("--volumes", is_flag=True, help="Print the volume names, one per line")
def config(services: tuple[str, ...], output: str, **flags: Any) -> None:
    """Parse, resolve and render compose file in canonical format."""
    from cli.compose.config_output import config_text

    text = config_text(Session.current(), services, flags)
    if output:
        Path(output).write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=False)


@compose_command()
@option("-f", "--format", "form", type=click.Choice(["pretty", "json"]), default="pretty", help="Format the output")
@option("--short", is_flag=True, help="Shows only the version number")
def version(form: str, short: bool) -> None:
    """Show the version information."""
    import json

    from cli.commands.system import own_version

    if short:
        click.echo(own_version())
    elif form == "json":
        click.echo(json.dumps({"version": own_version()}, separators=(",", ":")))
    else:
        click.echo(f"Covey Compose version {own_version()}")
