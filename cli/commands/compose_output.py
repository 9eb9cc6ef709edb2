"""``covey compose`` commands that follow what happens: logs, events, stats, attach."""

import json
from typing import Any

import click

from cli import options, output
from cli.command import option
from cli.compose.command import compose_command
from cli.compose.options import services_argument
from cli.compose.session import Session


@compose_command()
@services_argument
@option("-f", "--follow", is_flag=True, help="Follow log output")
@option("--index", type=int, default=0, help="index of the container if service has multiple replicas")
@option("--no-color", is_flag=True, help="Produce monochrome output")
@option("--no-log-prefix", is_flag=True, help="Don't print prefix in logs")
@option("--since", default="", help="Show logs since timestamp or relative (e.g. 42m for 42 minutes)")
@option("-n", "--tail", default="all", help="Number of lines to show from the end of the logs for each container")
@option("-t", "--timestamps", is_flag=True, help="Show timestamps")
@option("--until", default="", help="Show logs before a timestamp or relative (e.g. 42m for 42 minutes)")
def logs(services: tuple[str, ...], index: int, no_color: bool, no_log_prefix: bool, **query: Any) -> None:
    """View output from containers."""
    from cli.compose.logs import LogPrinter, print_logs, use_colors
    from cli.parse.moments import parse_moment

    session, now = Session.current(), output.now_ns()
    found = session.containers(services, index=index)
    colored = use_colors(session.flags["ansi"], no_color=no_color)
    printer = LogPrinter(session.known.name, found, colored=colored, prefixed=not no_log_prefix)
    query |= {"since": parse_moment(query["since"], now), "until": parse_moment(query["until"], now)}
    print_logs(session.daemon, printer, found, query)


@compose_command()
@services_argument
@option("--json", "as_json", is_flag=True, help="Output events as a stream of json objects")
@option("--since", default="", help="Show all events created since timestamp")
@option("--until", default="", help="Stream events until this timestamp")
def events(services: tuple[str, ...], as_json: bool, since: str, until: str) -> None:
    """Receive real time events from containers."""
    from cli.compose import labels
    from cli.compose.event_lines import event_document, event_line
    from cli.parse.moments import parse_moment

    session, now = Session.current(), output.now_ns()
    filters = {**labels.project_filter(session.known.name), "type": ["container"]}
    query = {"filters": filters, "since": parse_moment(since, now), "until": parse_moment(until, now)}
    for event in session.daemon.lines("GET", "/events", query):
        known = event["Actor"]["Attributes"]
        if services and known.get(labels.SERVICE) not in services:
            continue
        click.echo(json.dumps(event_document(event), separators=(",", ":")) if as_json else event_line(event))


@compose_command()
@click.argument("services", nargs=-1, metavar="[SERVICE]")
@option("-a", "--all", "all_", is_flag=True, help="Show all containers (default shows just running)")
@options.format_option
@option("--no-stream", is_flag=True, help="Disable streaming stats and only pull the first result")
@options.trunc_option
def stats(*, services: tuple[str, ...], all_: bool, form: str, no_stream: bool, no_trunc: bool) -> int:
    """Display a live stream of container(s) resource usage statistics."""
    from cli.commands.stats import stats as container_stats

    found = tuple(item.name for item in Session.current().containers(services) if all_ or item.running)
    if not found:
        return 0
    return int(
        click.get_current_context().invoke(
            container_stats, containers=found, all_=all_, form=form, no_stream=no_stream, no_trunc=no_trunc
        )
        or 0
    )


@compose_command()
@click.argument("service")
@option("--detach-keys", default="", help="Override the key sequence for detaching from a container")
@option("--index", type=int, default=0, help="index of the container if service has multiple replicas")
@option("--no-stdin", is_flag=True, help="Do not attach STDIN")
@option("--sig-proxy/--no-sig-proxy", default=True, negation=False, help="Proxy all received signals to the process")
def attach(service: str, index: int, **flags: Any) -> int:
    """Attach local standard input, output, and error streams to a service's running container."""
    from cli.commands.container_attach import attach as container_attach

    container = Session.current().container(service, index)
    return int(click.get_current_context().invoke(container_attach, container=container.id, **flags) or 0)
