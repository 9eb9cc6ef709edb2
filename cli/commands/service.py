"""``covey service`` as far as it looks: ls, ps, inspect, logs; and rm."""

from typing import Any

import click

from cli import options, output
from cli.client import DaemonClient, DaemonError, path_segment
from cli.commands import task_list
from cli.rows import service as service_rows


@click.command()
@options.format_option
@options.filter_option
@options.quiet_option
def ls(form: str, filters: tuple[str, ...], quiet: bool) -> None:
    """List services."""
    services = options.client().get("/services", {"filters": options.parse_filters(filters), "status": True})
    output.print_rows(service_rows.rows(services), service_rows.HEADERS, service_rows.TABLE, form, quiet=quiet)


@click.command()
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@task_list.list_options
def ps(
    *, services: tuple[str, ...], form: str, filters: tuple[str, ...], quiet: bool, no_trunc: bool, no_resolve: bool
) -> int:
    """List the tasks of services."""
    daemon = options.client()
    found, missing = _find(daemon, services)
    if found:
        wanted = {**options.parse_filters(filters), "service": [service["ID"] for service in found]}
        listed = daemon.get("/tasks", {"filters": wanted})
        task_list.print_tasks(daemon, listed, form, quiet=quiet, trunc=not (no_trunc or quiet), resolve=not no_resolve)
    for ref in missing:
        click.echo(f"no such service: {ref}", err=True)
    return int(bool(missing))


@click.command()
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@options.inspect_format_option
@click.option("--pretty", is_flag=True, help="Print the information in a form for people.")
def inspect(services: tuple[str, ...], form: str, pretty: bool) -> int:
    """Show services in detail."""
    daemon = options.client()
    if pretty and form:
        raise click.UsageError("--format is incompatible with --pretty")
    if pretty:
        from cli.pretty.inspect import service as text

        networks = {network["Id"]: network["Name"] for network in daemon.get("/networks")}
        return output.for_each(services, lambda ref: text(_get(daemon, ref), networks).rstrip("\n"))
    return output.print_objects(services, lambda ref: _get(daemon, ref), form)


@click.command()
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
def rm(services: tuple[str, ...]) -> int:
    """Remove services."""
    daemon = options.client()
    return output.for_each(services, lambda ref: daemon.delete(f"/services/{path_segment(ref)}"))


@click.command()
@click.argument("target", metavar="SERVICE|TASK")
@click.option("--details", is_flag=True, help="Show where each line comes from as the daemon says it.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now.")
@click.option("--no-resolve", is_flag=True, help="Do not map IDs to names.")
@click.option("--no-task-ids", is_flag=True, help="Leave the tasks' IDs out.")
@options.trunc_option
@click.option("--raw", is_flag=True, help="The lines alone, without who wrote them.")
@click.option("--since", default="", help="Only what was written since a time, or a span before now such as 10m.")
@click.option("-n", "--tail", default="all", help="How many lines from the end.")
@click.option("-t", "--timestamps", is_flag=True, help="Show when each line was written.")
def logs(
    *, target: str, details: bool, raw: bool, no_resolve: bool, no_task_ids: bool, no_trunc: bool, **query: Any
) -> None:
    """Show what a service's or a task's containers wrote."""
    from cli.service.logs import LogSourceNames, print_logs

    daemon = options.client()
    path, tty = _log_source(daemon, target)
    if tty and not raw:
        raise click.UsageError("tty service logs only supported with --raw")
    names = LogSourceNames(daemon, resolve=not no_resolve, task_ids=not no_task_ids, trunc=not no_trunc)
    print_logs(daemon, path, query, names=None if raw else names, details=details, tty=tty)


def _log_source(daemon: DaemonClient, target: str) -> tuple[str, bool]:
    """The path of the logs of a service, else of a task."""
    for kind in ("services", "tasks"):
        try:
            found = daemon.get(f"/{kind}/{path_segment(target)}")
        except DaemonError as error:
            if error.status != 404:
                raise
        else:
            template = found["Spec"]["TaskTemplate"] if kind == "services" else found["Spec"]
            return f"/{kind}/{found['ID']}/logs", bool(template["ContainerSpec"].get("TTY"))
    raise DaemonError(404, f"no such task or service: {target}")


def _find(daemon: DaemonClient, refs: tuple[str, ...]) -> tuple[list[Any], list[str]]:
    found, missing = [], []
    for ref in refs:
        try:
            found.append(daemon.get(f"/services/{path_segment(ref)}"))
        except DaemonError as error:
            if error.status != 404:
                raise
            missing.append(ref)
    return found, missing


def _get(daemon: DaemonClient, ref: str) -> Any:
    return daemon.get(f"/services/{path_segment(ref)}", {"insertDefaults": True})
