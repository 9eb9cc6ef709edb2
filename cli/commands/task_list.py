"""The task list of ``service ps``, ``node ps`` and ``stack ps``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from cli import options, output
from cli.client import DaemonClient, DaemonError, path_segment
from cli.command import option
from cli.rows import task as task_rows

F = TypeVar("F", bound=Callable[..., Any])


def list_options(function: F) -> F:
    """The options of all task lists."""
    function = option("--no-resolve", is_flag=True, help="Do not map IDs to Names")(function)
    function = options.trunc_option(function)
    function = options.quiet_option("task IDs")(function)
    function = options.filter_option(function)
    return options.format_option(function)


def print_tasks(
    daemon: DaemonClient, tasks: Sequence[Mapping[str, Any]], form: str, *, quiet: bool, trunc: bool, resolve: bool
) -> None:
    """Print tasks with the names of their services and nodes."""
    services, nodes = resolve_names(daemon, tasks) if resolve else ({}, {})
    indent = not quiet and (not form or form.startswith("table"))
    listed = task_rows.rows(tasks, services, nodes, output.now_ns(), trunc=trunc, indent=indent)
    output.print_rows(listed, task_rows.HEADERS, task_rows.TABLE, form, quiet=quiet)


def resolve_names(daemon: DaemonClient, tasks: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """The names of the tasks' services and nodes by id. Removed objects are left out."""
    services, nodes = {}, {}
    for service_id in {task["ServiceID"] for task in tasks}:
        service = _get_or_none(daemon, f"/services/{path_segment(service_id)}")
        if service:
            services[service_id] = service["Spec"]["Name"]
    if any(task.get("NodeID") for task in tasks):
        for node in daemon.get("/nodes"):
            nodes[node["ID"]] = node["Spec"].get("Name") or node["Description"]["Hostname"]
    return services, nodes


def _get_or_none(daemon: DaemonClient, path: str) -> Any:
    try:
        return daemon.get(path)
    except DaemonError as error:
        if error.status == 404:
            return None
        raise
