"""``covey system df``: the disk space of images, containers and volumes."""

import json
from typing import Any

import click

from cli import options, output
from cli.command import command, option
from cli.format import table
from cli.rows import disk_usage as rows
from cli.rows.container import HEADERS as CONTAINER_HEADERS
from cli.rows.image import HEADERS as IMAGE_HEADERS


@command()
@options.format_option
@option("-v", "--verbose", is_flag=True, help="Show detailed information on space usage")
def df(form: str, verbose: bool) -> None:
    """Show disk usage."""
    usage = options.client().call("GET", "/system/df", patient=True)
    if not verbose:
        output.print_rows(rows.summary(usage), rows.HEADERS, rows.TABLE, form)
    elif form == "json":
        click.echo(json.dumps(_details(usage, trunc=False), separators=(",", ":"), ensure_ascii=False))
    elif form and form != "table":
        raise click.UsageError("a template is not supported with --verbose: use --format json")
    else:
        _print_details(_details(usage, trunc=True))


def _details(usage: dict[str, Any], *, trunc: bool) -> dict[str, Any]:
    now = output.now_ns()
    return {
        "Images": rows.images(usage.get("Images") or [], now, trunc=trunc),
        "Containers": rows.containers(usage.get("Containers") or [], now, trunc=trunc),
        "Volumes": rows.volumes(usage.get("Volumes") or []),
        "BuildCache": [],
    }


def _print_details(details: dict[str, Any]) -> None:
    sections = (
        ("Images space usage:", "Images", IMAGE_HEADERS, rows.IMAGE_TABLE),
        ("Containers space usage:", "Containers", CONTAINER_HEADERS, rows.CONTAINER_TABLE),
        ("Local Volumes space usage:", "Volumes", rows.VOLUME_HEADERS, rows.VOLUME_TABLE),
        ("Build cache usage: 0B", "BuildCache", rows.CACHE_HEADERS, rows.CACHE_TABLE),
    )
    texts = [f"{title}\n\n{table.render(details[key], headers, form)}" for title, key, headers, form in sections]
    click.echo("\n".join(texts), nl=False)
