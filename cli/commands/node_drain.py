"""``covey node drain``: moves the tasks of a node elsewhere, and waits until it has none left."""

import time
from typing import Any

import click

from cli import options
from cli.client import DaemonClient, DaemonError, UnreachableError, path_segment
from cli.command import command, option
from cli.parse.param_types import DURATION
from cli.polling import INTERRUPTED, POLL_SECONDS, UnavailableTimeout
from cli.service.drain_progress import describe, remaining_tasks
from covey.drain_timeout import DRAIN_TIMEOUT_LABEL, drain_timeout_ns
from covey.errors import CoveyError
from covey.quantities import go_duration

_STOP_SECONDS = 60.0
"""How much longer than the drain's timeout the command waits for tasks to stop."""


@command()
@options.object_argument("node", "node")
@option("--wait", is_flag=True, help="Wait until the node has no task left, and show what is left")
@option(
    "--timeout",
    type=DURATION,
    help="How long tasks may stay that have no running replacement (default 10m, or the node's label covey.drain.timeout)",
)
def drain(node: str, wait: bool, timeout: int | None) -> int:
    """Move the tasks of a node to other nodes.

    Services that start new tasks first keep a task until its replacement runs, and is healthy, elsewhere. After the timeout the rest
    ends all the same. `covey node update --availability active` takes the node back.
    """
    daemon = options.client()
    found = daemon.get(f"/nodes/{path_segment(node)}")
    spec = {**found["Spec"], "Availability": "drain"}
    if timeout is not None:
        spec["Labels"] = {**(spec.get("Labels") or {}), DRAIN_TIMEOUT_LABEL: go_duration(timeout)}
    daemon.post(f"/nodes/{found['ID']}/update", {"version": found["Version"]["Index"]}, spec)
    click.echo(node)
    if not wait:
        return 0
    seconds = drain_timeout_ns(spec.get("Labels") or {}) / 1e9 + _STOP_SECONDS
    try:
        return _wait(daemon, found["ID"], node, time.monotonic() + seconds)
    except KeyboardInterrupt:
        click.echo(f"Interrupted. The drain continues. See what is left with: covey node ps {node}", err=True)
        return INTERRUPTED


def _wait(daemon: DaemonClient, node_id: str, name: str, until: float) -> int:
    """Waits until the node has no task that has not ended. Prints a line for each change."""
    shown, patience = "", UnavailableTimeout()
    while True:
        try:
            availability = daemon.get(f"/nodes/{node_id}")["Spec"]["Availability"]
            line = _what_is_left(daemon, node_id)
        except (DaemonError, UnreachableError) as error:
            patience.check(error)
            time.sleep(POLL_SECONDS)
            continue
        patience = UnavailableTimeout()
        if not line:
            click.echo(f"{name}: drained")
            return 0
        if availability != "drain":
            raise CoveyError(f"node {name} is no longer drained, its availability is {availability}; {line}")
        if line != shown:
            click.echo(f"{name}: {line}")
            shown = line
        if time.monotonic() > until:
            raise CoveyError(f"node {name} is not drained in time: {line}")
        time.sleep(POLL_SECONDS)


def _what_is_left(daemon: DaemonClient, node_id: str) -> str:
    left = remaining_tasks(daemon.get("/tasks", {"filters": {"node": [node_id]}}))
    if not left:
        return ""
    ids = sorted({task["ServiceID"] for task in left})
    services: list[Any] = daemon.get("/services", {"filters": {"id": ids}})
    related: list[Any] = daemon.get("/tasks", {"filters": {"service": ids}})
    return describe(left, related, {item["ID"]: item["Spec"]["Name"] for item in services})
