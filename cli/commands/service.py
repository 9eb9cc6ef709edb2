"""``covey service`` commands that read services and their logs, and ``service rm``."""

from typing import Any

import click

from cli import options, output
from cli.client import DaemonClient, DaemonError, path_segment
from cli.command import command, option
from cli.commands import task_list
from cli.format.schedule import footer as schedule_footer
from cli.rows import service as service_rows


@command()
@options.format_option
@options.filter_option
@options.quiet_option()
def ls(form: str, filters: tuple[str, ...], quiet: bool) -> None:
    """List services."""
    services = options.client().get("/services", {"filters": options.parse_filters(filters), "status": True})
    listed = service_rows.rows(services, output.now_ns())
    output.print_rows(listed, service_rows.HEADERS, service_rows.TABLE, form, quiet=quiet)


@command()
@options.object_arguments("services", "service")
@task_list.list_options
def ps(
    *, services: tuple[str, ...], form: str, filters: tuple[str, ...], quiet: bool, no_trunc: bool, no_resolve: bool
) -> int:
    """List the tasks of one or more services."""
    daemon = options.client()
    found, missing = _find(daemon, services)
    if found:
        conditions = {**options.parse_filters(filters), "service": [service["ID"] for service in found]}
        listed = daemon.get("/tasks", {"filters": conditions})
        task_list.print_tasks(daemon, listed, form, quiet=quiet, trunc=not (no_trunc or quiet), resolve=not no_resolve)
        if not quiet and not form:
            for line in schedule_footer(found, output.now_ns()):
                click.echo(line)
    for ref in missing:
        click.echo(f"no such service: {ref}", err=True)
    return int(bool(missing))


@command()
@options.object_arguments("services", "service")
@options.inspect_format_option
@option("--pretty", is_flag=True, help="Print the information in a human friendly format")
def inspect(services: tuple[str, ...], form: str, pretty: bool) -> int:
    """Display detailed information on one or more services."""
    daemon = options.client()
    if pretty and form:
        raise click.UsageError("--format is incompatible with --pretty")
    if pretty:
        from cli.pretty.service import service as text

        networks = {network["Id"]: network["Name"] for network in daemon.get("/networks")}
        return output.for_each(services, lambda ref: text(_get(daemon, ref), networks).rstrip("\n"))
    return output.print_objects(services, lambda ref: _get(daemon, ref), form)


@command()
@options.object_arguments("services", "service")
def rm(services: tuple[str, ...]) -> int:
    """Remove one or more services."""
    daemon = options.client()
    return output.for_each(services, lambda ref: daemon.delete(f"/services/{path_segment(ref)}"))


@command()
@options.object_argument("target", "service", metavar="SERVICE|TASK")
@option("--details", is_flag=True, help="Show extra details provided to logs")
@option("-f", "--follow", is_flag=True, help="Follow log output")
@option("--no-resolve", is_flag=True, help="Do not map IDs to Names in output")
@option("--no-task-ids", is_flag=True, help="Do not include task IDs in output")
@options.trunc_option
@option("--raw", is_flag=True, help="Do not neatly format logs")
@option("--since", default="", help='Show logs since timestamp or relative (e.g. "42m" for 42 minutes)')
@option("-n", "--tail", default="all", help="Number of lines to show from the end of the logs")
@option("-t", "--timestamps", is_flag=True, help="Show timestamps")
def logs(
    *, target: str, details: bool, raw: bool, no_resolve: bool, no_task_ids: bool, no_trunc: bool, **query: Any
) -> None:
    """Fetch the logs of a service or task."""
    from cli.parse.moments import parse_moment
    from cli.service.logs import LogSourceNames, print_logs

    daemon = options.client()
    query["since"] = parse_moment(query["since"], output.now_ns())
    path, tty = _log_source(daemon, target)
    if tty and not raw:
        raise click.UsageError("tty service logs only supported with --raw")
    names = LogSourceNames(daemon, resolve=not no_resolve, task_ids=not no_task_ids, trunc=not no_trunc)
    print_logs(daemon, path, query, names=None if raw else names, details=details, tty=tty)


def _log_source(daemon: DaemonClient, target: str) -> tuple[str, bool]:
    """The path of the logs of a service or a task, and whether its containers have a TTY."""
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
