"""``covey events``: prints events of the daemon as they happen."""

import json
from typing import Any

import click

from cli import options, output
from cli.command import command, option
from cli.format.template import Template
from cli.parse.moments import parse_moment


@command()
@options.filter_option
@option("--format", "form", default="", metavar="string", help='Format output: "json" or a Go template')
@option("--since", default="", help="Show all events created since timestamp")
@option("--until", default="", help="Stream events until this timestamp")
def events(filters: tuple[str, ...], form: str, since: str, until: str) -> None:
    """Get real time events from the server."""
    template = Template(form) if form and form != "json" else None
    now = output.now_ns()
    query = {
        "since": parse_moment(since, now),
        "until": parse_moment(until, now),
        "filters": options.parse_filters(filters),
    }
    for event in options.client().lines("GET", "/events", query):
        if template:
            click.echo(template.render(event))
        elif form == "json":
            click.echo(json.dumps(event, separators=(",", ":"), ensure_ascii=False))
        else:
            click.echo(event_line(event))


def event_line(event: dict[str, Any]) -> str:
    """One event as docker prints it: ``TIME TYPE ACTION ID (key=value, …)``."""
    from datetime import UTC, datetime

    time_ns = int(event.get("timeNano") or event.get("time", 0) * 1_000_000_000)
    seconds, rest = divmod(time_ns, 1_000_000_000)
    moment = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
    actor = event.get("Actor") or {}
    attributes = ", ".join(f"{key}={value}" for key, value in sorted((actor.get("Attributes") or {}).items()))
    text = f"{moment} {event.get('Type', '')} {event.get('Action', '')} {actor.get('ID', '')}"
    return f"{text} ({attributes})" if attributes else text
