"""Requests about watched stacks, and waiting until the managers have deployed one."""

import time
from typing import Any

import click

from cli.client import DaemonClient, DaemonError, path_segment
from cli.polling import POLL_SECONDS, UnavailableTimeout
from cli.rows.watched_stack import last_error, short_commit
from covey.errors import CoveyError, DeadlineError, NotFoundError

DEPLOY_SECONDS = 360.0
NOT_FOUND = 404


def watch_path(stack: str) -> str:
    return f"/covey/stacks/{path_segment(stack)}/watch"


def watched_stack(daemon: DaemonClient, stack: str) -> dict[str, Any] | None:
    """The watch of a stack; None if it is not watched."""
    try:
        found: dict[str, Any] = daemon.get(watch_path(stack))
    except DaemonError as error:
        if error.status == NOT_FOUND:
            return None
        raise
    return found


def watched_stacks(daemon: DaemonClient) -> list[dict[str, Any]]:
    """All watched stacks; none on a daemon that cannot watch stacks."""
    try:
        found: list[dict[str, Any]] = daemon.get("/covey/stacks/watched")
    except DaemonError as error:
        if error.status == NOT_FOUND:
            return []
        raise
    return found


def stop_watching(daemon: DaemonClient, stack: str) -> bool:
    """Stop watching a stack; False if it was not watched."""
    try:
        daemon.delete(watch_path(stack))
    except DaemonError as error:
        if error.status == NOT_FOUND:
            return False
        raise
    return True


def wait_until_deployed(daemon: DaemonClient, stack: str, request: int) -> int:
    """Wait until the managers have answered a request to deploy, and print how. Returns 1 if they failed.

    Raises:
        NotFoundError: the watch was removed meanwhile; DeadlineError: there was no answer.
    """
    deadline, unavailable = time.monotonic() + DEPLOY_SECONDS, UnavailableTimeout()
    while time.monotonic() < deadline:
        try:
            found = watched_stack(daemon, stack)
        except CoveyError as error:
            unavailable.check(error)
        else:
            unavailable = UnavailableTimeout()
            if found is None:
                raise NotFoundError(f"stack {stack} is not watched any more")
            if found["Status"]["AnsweredRequest"] >= request:
                return _told(stack, found)
        time.sleep(POLL_SECONDS)
    raise DeadlineError(f"stack {stack} was not deployed within {DEPLOY_SECONDS:.0f} s; see covey stack watch {stack}")


def _told(stack: str, found: dict[str, Any]) -> int:
    status = found["Status"]
    if error := last_error(found):
        click.echo(f"Stack {stack} was not deployed: {error}", err=True)
        click.echo(f"The managers try again; covey stack watch {stack} --stop ends that.", err=True)
        return 1
    click.echo(f"Stack {stack} is deployed at commit {short_commit(status['DeployedCommit'])}")
    return 0
