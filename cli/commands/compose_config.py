"""``covey compose`` commands on the files alone: config, version."""

from pathlib import Path
from typing import Any

import click

from cli.command import option
from cli.compose.command import compose_command
from cli.compose.options import services_argument
from cli.compose.session import Session, application_of


@compose_command()
@services_argument
@option("--environment", is_flag=True, help="Print environment used for interpolation")
@option("--format", "form", type=click.Choice(["", "yaml", "json"]), default="", help="Format the output")
@option("--hash", "hashed", default="", help="Print the service config hash, one per line; * for all")
@option("--images", is_flag=True, help="Print the image names, one per line")
@option("--networks", is_flag=True, help="Print the network names, one per line")
@option("--no-interpolate", is_flag=True, help="Don't interpolate environment variables")
@option("-o", "--output", default="", help="Save to file (default to stdout)")
@option("--profiles", is_flag=True, help="Print the profile names, one per line")
@option("-q", "--quiet", is_flag=True, help="Only validate the configuration, don't print anything")
@option("--services", "names", is_flag=True, help="Print the service names, one per line")
@option("--volumes", is_flag=True, help="Print the volume names, one per line")
def config(services: tuple[str, ...], form: str, output: str, quiet: bool, no_interpolate: bool, **lists: Any) -> None:
    """Parse, resolve and render compose file in canonical format."""
    from cli.compose.config_output import listed, selected_content
    from compose.project.output import project_json, project_yaml

    session = Session.current()
    project = session.load(interpolated=not no_interpolate)
    lines = listed(application_of(project, tuple(session.flags["env_files"])), lists)
    if quiet:
        return
    if lines is None:
        content = selected_content(project.content, services)
        text = project_json(content) if form == "json" else project_yaml(content)
    else:
        text = "".join(f"{line}\n" for line in lines)
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
