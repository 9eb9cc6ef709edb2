"""``covey compose`` commands that list: ps."""

import json

import click

from cli import options, output
from cli.command import option
from cli.compose import labels
from cli.compose.command import compose_command
from cli.compose.container_rows import container_row
from cli.compose.options import services_argument
from cli.compose.session import Session
from cli.compose.state import existing_container
from cli.rows import container as rows
from compose.project.json_output import go_json_text
from covey.errors import NotFoundError

_HEADERS = {
    **rows.HEADERS,
    "Name": "NAME",
    "Service": "SERVICE",
    "Project": "PROJECT",
    "ExitCode": "EXIT CODE",
    "Health": "HEALTH",
}
_TABLE = "{{.Name}}\t{{.Image}}\t{{.Command}}\t{{.Service}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}"


@compose_command()
@services_argument
@option(
    "-a", "--all", "all_", is_flag=True, help="Show all stopped containers (including those created by the run command)"
)
@options.format_option
@options.quiet_option("IDs")
@option("--services", "names", is_flag=True, help="Display services")
@option("--status", "states", multiple=True, metavar="stringArray", help="Filter services by status")
@option("--filter", "filters", multiple=True, metavar="string", help="Filter services by a property (status=STATUS)")
@option("--orphans/--no-orphans", default=True, help="Include orphaned services (not declared by project)")
@options.trunc_option
def ps(
    *,
    services: tuple[str, ...],
    all_: bool,
    form: str,
    quiet: bool,
    names: bool,
    states: tuple[str, ...],
    filters: tuple[str, ...],
    orphans: bool,
    no_trunc: bool,
) -> None:
    """List containers."""
    session = Session.current()
    application = session.known
    wanted = {
        *states,
        *(value for key, listed in options.parse_filters(filters).items() for value in listed if key == "status"),
    }
    query = {"all": all_ or bool(wanted), "filters": labels.project_filter(application.name)}
    found = []
    for item in session.daemon.get("/containers/json", query):
        container = existing_container(item)
        if (container.one_off and not all_) or (wanted and container.state not in wanted):
            continue
        declared = not application.services or container.service in application.services
        if (not services or container.service in services) and (orphans or declared):
            found.append((container, item))
    for name in services:
        if name not in application.services and all(container.service != name for container, _ in found):
            raise NotFoundError(f"no such service: {name}")
    found.sort(key=lambda pair: pair[0].name)
    if names:
        click.echo("".join(f"{name}\n" for name in sorted({container.service for container, _ in found})), nl=False)
        return
    listed = []
    for container, item in found:
        row = container_row(container, item, application.name, output.now_ns(), trunc=not no_trunc)
        listed.append({**row, "ID": container.id if quiet and not form else row["ID"]})
    if form == "json":
        for row in listed:
            click.echo(go_json_text(json.dumps(dict(sorted(row.items())), separators=(",", ":"), ensure_ascii=False)))
        return
    output.print_rows(listed, _HEADERS, _TABLE, form, quiet=quiet)
