"""Waits until services have converged, with a progress bar on a terminal and one line for each change elsewhere.

``convergence.service_progress`` judges the state, ``outlook`` whether it can still change. Interrupting the wait does not stop the update.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from cli.client import DaemonClient, DaemonError, UnreachableError
from cli.polling import INTERRUPTED, POLL_SECONDS, Deadline, UnavailableTimeout
from cli.service.convergence import ServiceProgress, service_progress
from cli.service.display import Display, display
from cli.service.failure_cause import failure_cause
from cli.service.outlook import Ending, Outlook


def wait_for_services(
    daemon: DaemonClient,
    services: Sequence[str],
    *,
    quiet: bool = False,
    rollback: bool = False,
    timeout_ns: int | None = None,
) -> int:
    """Wait for all services. Returns 0 when they have converged and jobs are complete, 130 if interrupted, and 1 if one never will, or
    has not after ``timeout_ns`` in all. The cause is then told on standard error.

    ``rollback`` means that a rollback was requested and is not a failure.
    """
    shown, code = display(quiet=quiet), 0
    deadline = None if timeout_ns is None else Deadline(timeout_ns)
    try:
        settled = _settled(daemon, services) if len(services) > 1 else {}
        for name in services:
            if name in settled:
                shown.show(name, settled[name])
            else:
                code |= _wait_for_service(daemon, name, shown, Outlook(rollback=rollback), deadline)
    except KeyboardInterrupt:
        shown.close()
        click.echo(
            "Interrupted. The update continues in the background. See its progress with: covey service ps", err=True
        )
        return INTERRUPTED
    shown.close()
    return code


def _settled(daemon: DaemonClient, names: Sequence[str]) -> dict[str, ServiceProgress]:
    """Those of several services that have converged already, read with two requests."""
    try:
        listed = daemon.get("/services", {"filters": {"name": list(names)}, "status": True})
        ids: dict[str, list[Any]] = {item["ID"]: [] for item in listed}
        for task in daemon.get("/tasks", {"filters": {"service": list(ids), "_up-to-date": ["true"]}}) if ids else ():
            ids.get(task["ServiceID"], []).append(task)
    except (DaemonError, UnreachableError):
        return {}
    found = {
        item["Spec"]["Name"]: service_progress(item, ids[item["ID"]], _counted(item))
        for item in listed
        if item["Spec"]["Name"] in names
    }
    return {name: progress for name, progress in found.items() if progress.converged and not progress.update}


class _Seen(msgspec.Struct, frozen=True):
    """A service and its tasks at a moment. ``nodes`` are the ids of those that take tasks, told only if tasks were rejected."""

    service: Mapping[str, Any]
    tasks: Sequence[Mapping[str, Any]]
    progress: ServiceProgress
    nodes: set[str]

    @property
    def name(self) -> str:
        return str(self.service["Spec"]["Name"])


def _look(daemon: DaemonClient, ref: str) -> _Seen:
    service = daemon.get(f"/services/{ref}")
    wanted = _wanted_tasks(daemon, service)  # first: until the second request an old task may end, once a new one runs
    tasks = _tasks(daemon, service)
    new = {task["ID"] for task in tasks}
    old = [task for task in wanted if task["ID"] not in new]
    progress = service_progress(service, tasks, _eligible(daemon, service), old)
    return _Seen(service, tasks, progress, _nodes(daemon, tasks))


def _wait_for_service(
    daemon: DaemonClient, ref: str, shown: Display, outlook: Outlook, deadline: Deadline | None
) -> int:
    patience, seen = UnavailableTimeout(), None
    while True:
        try:
            seen = _look(daemon, ref)
        except (DaemonError, UnreachableError) as error:
            patience.check(error)
        else:
            patience = UnavailableTimeout()
            shown.show(seen.name, seen.progress)
            ending = outlook.ending(seen.service, seen.tasks, seen.progress, seen.nodes, time.monotonic())
            if ending is not None:
                return _tell(daemon, seen, ending, shown) if ending.problem else 0
        if deadline is not None and deadline.is_over:
            name, last = (seen.name, seen.progress.summary) if seen else (ref, "the daemon did not answer")
            problem = f"service {name}: has not converged within {deadline.text}: {last}"
            return _tell(daemon, seen, Ending(problem), shown)
        time.sleep(POLL_SECONDS)


def _tell(daemon: DaemonClient, seen: _Seen | None, ending: Ending, shown: Display) -> int:
    """Print why the wait has failed, with the last words of the task that failed last. Returns the exit code."""
    shown.close()
    click.echo(ending.problem, err=True)
    if seen is not None:
        for line in failure_cause(daemon, seen.service, known=ending.problem, of_update=ending.of_update):
            click.echo(line, err=True)
        click.echo(f"See its tasks with: covey service ps {seen.name}", err=True)
    return 1


def _wanted_tasks(daemon: DaemonClient, service: Mapping[str, Any]) -> list[Any]:
    """The tasks that are to run while an update goes on, also those of earlier specs."""
    if (service.get("UpdateStatus") or {}).get("State") not in ("updating", "rollback_started"):
        return []
    listed: list[Any] = daemon.get("/tasks", {"filters": {"service": [service["ID"]], "desired-state": ["running"]}})
    return listed


def _nodes(daemon: DaemonClient, tasks: Sequence[Mapping[str, Any]]) -> set[str]:
    """The nodes that take tasks, asked for only when tasks were rejected."""
    if not any(task["Status"]["State"] == "rejected" for task in tasks):
        return set()
    return {
        node["ID"]
        for node in daemon.get("/nodes")
        if node["Status"]["State"] == "ready" and node["Spec"]["Availability"] == "active"
    }


def _tasks(daemon: DaemonClient, service: Mapping[str, Any]) -> list[Any]:
    filters = {"service": [service["ID"]], "_up-to-date": ["true"]}
    tasks: list[Any] = daemon.get("/tasks", {"filters": filters})
    return tasks


def _eligible(daemon: DaemonClient, service: Mapping[str, Any]) -> int:
    """The number of nodes that a global service waits for, as counted by the daemon."""
    if "Global" not in (service["Spec"].get("Mode") or {}):
        return 0
    try:
        listed = daemon.get("/services", {"filters": {"id": [service["ID"]]}, "status": True})
    except DaemonError:
        return 0
    return _counted(listed[0]) if listed else 0


def _counted(service: Mapping[str, Any]) -> int:
    if "Global" not in (service["Spec"].get("Mode") or {}):
        return 0
    return int((service.get("ServiceStatus") or {}).get("DesiredTasks", 0))
