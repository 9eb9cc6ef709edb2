"""``covey container`` as far as it looks: ls, inspect, logs, top."""

from typing import Any

import click

from cli import options, output
from cli.client import path_segment
from cli.rows import container as rows


@click.command()
@click.option("-a", "--all", "all_", is_flag=True, help="Also those that do not run.")
@options.filter_option
@options.format_option
@click.option("-n", "--last", type=int, default=-1, help="The last created ones, in whatever state.")
@click.option("-l", "--latest", is_flag=True, help="The one that was created last.")
@options.trunc_option
@click.option("-q", "--quiet", is_flag=True, help="Only display container IDs.")
@click.option("-s", "--size", is_flag=True, help="Also their sizes.")
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


@click.command()
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@options.inspect_format_option
@click.option("-s", "--size", is_flag=True, help="Also their sizes.")
def inspect(containers: tuple[str, ...], form: str, size: bool) -> int:
    """Show containers in detail."""
    daemon = options.client()
    return output.print_objects(
        containers, lambda ref: daemon.get(f"/containers/{path_segment(ref)}/json", {"size": size}), form
    )


@click.command()
@click.argument("container")
@click.option("--details", is_flag=True, help="Also the labels and variables that the log keeps.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now.")
@click.option("--since", default="", help="Only what was written since a time, or a span before now such as 10m.")
@click.option("-n", "--tail", default="all", help="How many lines from the end.")
@click.option("-t", "--timestamps", is_flag=True, help="Show when each line was written.")
@click.option("--until", default="", help="Only what was written before a time.")
def logs(container: str, **query: Any) -> None:
    """Show what a container wrote."""
    from cli.terminal.log_output import write_output

    daemon = options.client()
    tty = bool(daemon.get(f"/containers/{path_segment(container)}/json")["Config"].get("Tty"))
    chunks = daemon.chunks(
        "GET", f"/containers/{path_segment(container)}/logs", {**query, "stdout": True, "stderr": True}
    )
    write_output(chunks, framed=not tty)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("container")
@click.argument("ps_options", nargs=-1, metavar="[PS OPTIONS]")
def top(container: str, ps_options: tuple[str, ...]) -> None:
    """Show a container's processes."""
    from cli.format.table import align

    query = {"ps_args": " ".join(ps_options)}
    found = options.client().get(f"/containers/{path_segment(container)}/top", query)
    click.echo(align(["\t".join(row) for row in (found["Titles"], *found["Processes"])]), nl=False)
