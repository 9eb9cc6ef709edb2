"""``covey container`` commands that read: ls, inspect, logs, port, top."""

from typing import Any

import click

from cli import options, output
from cli.client import path_segment
from cli.command import command, option
from cli.rows import container as rows
from covey.errors import InvalidArgumentError


@command()
@option("-a", "--all", "all_", is_flag=True, help="Show all containers (default shows just running)")
@options.filter_option
@options.format_option
@option("-n", "--last", type=int, default=-1, help="Show n last created containers (includes all states)")
@option("-l", "--latest", is_flag=True, help="Show the latest created container (includes all states)")
@options.trunc_option
@options.quiet_option("container IDs")
@option("-s", "--size", is_flag=True, help="Display total file sizes")
def ls(
    *, all_: bool, filters: tuple[str, ...], form: str, last: int, latest: bool, no_trunc: bool, quiet: bool, size: bool
) -> None:
    """List containers."""
    limit = 1 if latest else last
    query: dict[str, Any] = {"all": all_, "size": size, "filters": options.parse_filters(filters)}
    if limit > 0:
        query["limit"] = limit
    found = options.client().get("/containers/json", query)
    table = rows.TABLE + ("\t{{.Size}}" if size else "")
    listed = [rows.row(item, output.now_ns(), trunc=not no_trunc, sizes=size) for item in found]
    output.print_rows(listed, rows.HEADERS, table, form, quiet=quiet)


@command()
@options.object_arguments("containers", "container")
@options.inspect_format_option
@option("-s", "--size", is_flag=True, help="Display total file sizes")
def inspect(containers: tuple[str, ...], form: str, size: bool) -> int:
    """Display detailed information on one or more containers."""
    daemon = options.client()
    return output.print_objects(
        containers, lambda ref: daemon.get(f"/containers/{path_segment(ref)}/json", {"size": size}), form
    )


@command()
@options.object_argument("container", "container")
@option("--details", is_flag=True, help="Show extra details provided to logs")
@option("-f", "--follow", is_flag=True, help="Follow log output")
@option("--since", default="", help='Show logs since timestamp or relative (e.g. "42m" for 42 minutes)')
@option("-n", "--tail", default="all", help="Number of lines to show from the end of the logs")
@option("-t", "--timestamps", is_flag=True, help="Show timestamps")
@option("--until", default="", help='Show logs before a timestamp or relative (e.g. "42m" for 42 minutes)')
def logs(container: str, **query: Any) -> None:
    """Fetch the logs of a container."""
    from cli.parse.moments import parse_moment
    from cli.terminal.log_output import write_output

    daemon, now = options.client(), output.now_ns()
    found = daemon.get(f"/containers/{path_segment(container)}/json")
    query |= {"since": parse_moment(query["since"], now), "until": parse_moment(query["until"], now)}
    chunks = daemon.chunks("GET", f"/containers/{found['Id']}/logs", {**query, "stdout": True, "stderr": True})
    write_output(chunks, framed=not found["Config"].get("Tty"))


@command()
@options.object_argument("container", "container")
@click.argument("private_port", required=False, default="", metavar="[PRIVATE_PORT[/PROTO]]")
def port(container: str, private_port: str) -> None:
    """List port mappings or a specific mapping for the container."""
    from cli.format.sorting import natural_sort_key

    found = options.client().get(f"/containers/{path_segment(container)}/json")
    ports = (found.get("NetworkSettings") or {}).get("Ports") or {}
    if private_port:
        wanted = private_port if "/" in private_port else f"{private_port}/tcp"
        if not ports.get(wanted):
            raise InvalidArgumentError(f"no public port '{private_port}' published for {container}")
        click.echo("\n".join(rows.published(ports[wanted])))
        return
    for inside in sorted(ports, key=natural_sort_key):
        for outside in rows.published(ports[inside] or []):
            click.echo(f"{inside} -> {outside}")


@command(context_settings={"ignore_unknown_options": True})
@options.object_argument("container", "container")
@click.argument("ps_options", nargs=-1, metavar="[ps OPTIONS]")
def top(container: str, ps_options: tuple[str, ...]) -> None:
    """Display the running processes of a container."""
    from cli.format.table import align

    query = {"ps_args": " ".join(ps_options)}
    found = options.client().get(f"/containers/{path_segment(container)}/top", query)
    click.echo(align(["\t".join(row) for row in (found["Titles"], *found["Processes"])]), nl=False)
