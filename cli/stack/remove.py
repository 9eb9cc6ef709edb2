"""Stack removal: the watch, then services, then what they used, as soon as their tasks have stopped."""

import time

import click

from cli.client import DaemonClient, DaemonError
from cli.stack.plan import dependants_first
from cli.stack.prepare import stack_filter
from cli.stack.watch import stop_watching, watched_stack
from covey.errors import DeadlineError

REMOVE_SECONDS = 60.0
POLL_SECONDS = 0.1


def remove(daemon: DaemonClient, stack: str, *, detach: bool = False) -> bool:
    """Remove all objects of a stack; False if there are none. A network can be removed once its last task has stopped.

    Without ``detach`` it returns when the tasks have ended, too.

    Raises:
        DeadlineError: something is still in use after 60 s.
    """
    was_watched = _stop_watching(daemon, stack)
    services = daemon.get("/services", {"filters": stack_filter(stack)})
    parts = {kind: daemon.get(f"/{kind}s", {"filters": stack_filter(stack)}) for kind in ("secret", "config")}
    networks = daemon.get("/networks", {"filters": stack_filter(stack)})
    for item in dependants_first(services):
        click.echo(f"Removing service {item['Spec']['Name']}")
        daemon.delete(f"/services/{item['ID']}")
    for kind, items in parts.items():
        for item in items:
            click.echo(f"Removing {kind} {item['Spec']['Name']}")
            _delete_when_unused(daemon, f"/{kind}s/{item['ID']}")
    for item in networks:
        click.echo(f"Removing network {item['Name']}")
        _delete_when_unused(daemon, f"/networks/{item['Id']}")
    if services and not detach:
        _wait_for_tasks(daemon, stack)
    return bool(was_watched or services or networks or any(parts.values()))


def _stop_watching(daemon: DaemonClient, stack: str) -> bool:
    """Stop watching a stack first: the managers would deploy it again."""
    watched = watched_stack(daemon, stack)
    if watched is None or not stop_watching(daemon, stack):
        return False
    click.echo(f"Stopping the watch of {watched['Spec']['URL']}")
    return True


def _wait_for_tasks(daemon: DaemonClient, stack: str) -> None:
    """Wait until no task of the stack is left: the managers delete those of removed services once they have ended."""
    deadline = time.monotonic() + REMOVE_SECONDS
    while left := daemon.get("/tasks", {"filters": stack_filter(stack)}):
        if time.monotonic() > deadline:
            raise DeadlineError(f"{len(left)} tasks of stack {stack} have not ended after {REMOVE_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def _delete_when_unused(daemon: DaemonClient, path: str) -> None:
    """Delete an object as soon as it is unused. Tasks of removed services need time to stop."""
    deadline = time.monotonic() + REMOVE_SECONDS
    while True:
        try:
            daemon.delete(path)
        except DaemonError as error:
            if error.status == 404:
                return
            if "in use" not in error.message and "active" not in error.message:
                raise
            if time.monotonic() > deadline:
                raise DeadlineError(f"still in use after {REMOVE_SECONDS:.0f} s: {error.message}") from error
            time.sleep(POLL_SECONDS)
        else:
            return
