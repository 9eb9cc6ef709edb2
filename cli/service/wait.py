"""Waits until services have converged, with a progress bar on a terminal and one line for each change elsewhere.

``convergence.service_progress`` judges the state. Interrupting the wait does not stop the update.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import click

from cli.client import DaemonClient, DaemonError, UnreachableError
from cli.polling import INTERRUPTED, POLL_SECONDS, UnavailableTimeout
from cli.service.convergence import RejectionCounter, ServiceProgress, service_progress


class _Display(Protocol):
    def show(self, name: str, progress: ServiceProgress) -> None: ...
    def close(self) -> None: ...


class _LineDisplay:
    """Prints a line for each change."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}

    def show(self, name: str, progress: ServiceProgress) -> None:
        line = f"{name}: {progress.summary}"
        if self._shown.get(name) != line:
            self._shown[name] = line
            click.echo(line)

    def close(self) -> None:
        return


class _QuietDisplay:
    def show(self, name: str, progress: ServiceProgress) -> None:
        del name, progress

    def close(self) -> None:
        return


def wait_for_services(
    daemon: DaemonClient, services: Sequence[str], *, quiet: bool = False, rollback: bool = False
) -> int:
    """Wait for all services. Returns 0 when they have converged and jobs are complete, 130 if interrupted, and 1 if an update was paused or
    rolled back, or if tasks are rejected again and again.

    ``rollback`` means that a rollback was requested and is not a failure.
    """
    display: _Display = _QuietDisplay() if quiet else _bars() if sys.stdout.isatty() else _LineDisplay()
    code = 0
    try:
        settled = _settled(daemon, services) if len(services) > 1 else {}
        for name in services:
            if name in settled:
                display.show(name, settled[name])
            else:
                code |= _wait_for_service(daemon, name, display, rollback=rollback)
    except KeyboardInterrupt:
        display.close()
        click.echo(
            "Interrupted. The update continues in the background. See its progress with: covey service ps", err=True
        )
        return INTERRUPTED
    display.close()
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


def _wait_for_service(daemon: DaemonClient, name: str, display: _Display, *, rollback: bool) -> int:
    rolled_back, patience, rejections = False, UnavailableTimeout(), RejectionCounter()
    while True:
        try:
            service = daemon.get(f"/services/{name}")
            tasks = _tasks(daemon, service)
            progress = service_progress(service, tasks, _eligible(daemon, service))
        except (DaemonError, UnreachableError) as error:
            patience.check(error)
            time.sleep(POLL_SECONDS)
            continue
        patience = UnavailableTimeout()
        display.show(service["Spec"]["Name"], progress)
        rolled_back = rolled_back or progress.update.startswith("rollback")
        if progress.paused:
            display.close()
            click.echo(
                f"service {service['Spec']['Name']}: update {progress.update.replace('_', ' ')}: {progress.message}",
                err=True,
            )
            return 1
        if progress.converged:
            if rolled_back and not rollback:
                display.close()
                click.echo(f"service {service['Spec']['Name']}: rolled back: {progress.message}", err=True)
                return 1
            return 0
        if progress.failure and not progress.update:
            display.close()
            click.echo(_failed(service["Spec"]["Name"], progress), err=True)
            return 1
        reason = rejections.reason(tasks, restarts=_restarts(service))
        if reason and not progress.update:
            display.close()
            click.echo(_gave_up(service["Spec"]["Name"], reason), err=True)
            return 1
        time.sleep(POLL_SECONDS)


def _restarts(service: Mapping[str, Any]) -> bool:
    """Whether a rejected task is replaced by another."""
    policy = (service["Spec"].get("TaskTemplate") or {}).get("RestartPolicy") or {}
    return bool(policy.get("Condition", "any") != "none")


def _failed(name: str, progress: ServiceProgress) -> str:
    what = "the job failed" if progress.job else "a task failed and is not started again"
    return f"service {name}: {what}: {progress.failure}\nSee its tasks with: covey service ps {name}"


def _gave_up(name: str, reason: str) -> str:
    return (
        f"service {name}: its tasks are rejected again and again: {reason}\n"
        f"The service stays and goes on trying. See its tasks with: covey service ps {name}"
    )


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


def _bars() -> _Display:
    from cli.service.progress_bars import ProgressBars

    return ProgressBars()
