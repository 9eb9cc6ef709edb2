"""``covey network verify``: compares the network state of this host with what is wanted."""

from typing import Any

import click

from cli import options, output
from cli.command import command, option

HEADERS = {"Namespace": "NAMESPACE", "Kind": "DIFFERENCE", "Item": "ITEM", "Wanted": "WANTED", "Found": "FOUND"}
TABLE = "{{.Namespace}}\t{{.Kind}}\t{{.Item}}\t{{.Wanted}}\t{{.Found}}"
_ID_WIDTH = 12
_VALUE_WIDTH = 60


@command()
@options.format_option
@options.trunc_option
@option("--repair", is_flag=True, help="Carry out the differences, and verify again")
def verify(form: str, no_trunc: bool, repair: bool) -> int:
    """Verify the network state of this host.

    Lists every item of the kernel that is missing, altered or stray. The exit status is 1 if there are differences; with
    --repair, if any are left.
    """
    daemon = options.client()
    answer = daemon.post("/covey/network/repair") if repair else daemon.get("/covey/network/verify")
    found = answer["Differences"]
    left = answer.get("Remaining", []) if repair else found
    if found or form:
        output.print_rows([_row(one, trunc=not no_trunc) for one in found], HEADERS, TABLE, form)
    elif not left:
        click.echo("No differences")
    if repair and found:
        click.echo(f"Repaired {max(len(found) - len(left), 0)} differences, {len(left)} left", err=True)
        for one in left:
            click.echo(f"{one['Namespace']}: {one['Item']} is still {one['Kind']}", err=True)
    return int(bool(left))


def _row(one: dict[str, Any], *, trunc: bool) -> dict[str, str]:
    if not trunc:
        return dict(one)
    kind, slash, name = one["Namespace"].partition("/")
    return {
        **one,
        "Namespace": kind + slash + name[:_ID_WIDTH],
        "Wanted": _shortened(one["Wanted"]),
        "Found": _shortened(one["Found"]),
    }


def _shortened(text: str) -> str:
    return text if len(text) <= _VALUE_WIDTH else text[: _VALUE_WIDTH - 1] + "…"
