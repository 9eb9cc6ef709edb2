"""``covey service history``: what happened to a service and its tasks, who did it and why."""

import click

from cli import options, output
from cli.client import path_segment
from cli.command import command, option
from cli.parse.moments import parse_moment
from cli.rows import history as history_rows


@command()
@options.object_argument("service", "service")
@options.format_option
@option("--no-trunc", is_flag=True, help="Do not truncate output")
@option("--since", default="", help='Show entries since timestamp or relative (e.g. "42m" for 42 minutes)')
@option("-n", "--tail", type=click.IntRange(min=0), default=0, help="Number of entries to show from the end")
def history(service: str, form: str, no_trunc: bool, since: str, tail: int) -> None:
    """Show what happened to a service and its tasks.

    Also of a service that was removed. Managers remember the last entries only.
    """
    query = {"since": parse_moment(since, output.now_ns()), "tail": tail}
    entries = options.client().get(f"/services/{path_segment(service)}/history", query)
    shown = [history_rows.row(entry, trunc=not no_trunc) for entry in entries]
    output.print_rows(shown, history_rows.HEADERS, history_rows.TABLE, form)
