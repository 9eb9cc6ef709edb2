"""Waits until a container has reached a condition of ``depends_on`` or of ``--wait``."""

import time
from collections.abc import Mapping
from typing import Any

from cli.client import DaemonClient
from cli.compose.plan import READY
from covey.errors import CoveyError

POLL_SECONDS = 0.1
DEADLINE_SECONDS = 24 * 3600.0
"""How long a wait may take without ``--wait-timeout``. It ends before if the container exits or becomes unhealthy."""


def wait_for(daemon: DaemonClient, container: str, name: str, condition: str, timeout: float | None) -> str:
    """Wait for a condition; returns how the container is then.

    Raises:
        CoveyError: the condition cannot come true any more, or the time is over.
    """
    limit = DEADLINE_SECONDS if timeout is None else timeout
    end = time.monotonic() + limit
    while True:
        found = daemon.get(f"/containers/{container}/json")
        status = reached(found, name, condition)
        if status:
            return status
        if time.monotonic() >= end:
            raise CoveyError(f"container {name} was not ready within {limit:.0f} s")
        time.sleep(POLL_SECONDS)


def reached(found: Mapping[str, Any], name: str, condition: str) -> str:
    """How an inspected container fulfils a condition; empty if it may later. Pure.

    Raises:
        CoveyError: it never will.
    """
    state = found["State"]
    code = int(state.get("ExitCode") or 0)
    ended = state.get("Status") in ("exited", "dead")
    if condition == "service_completed_successfully":
        if ended and code:
            raise CoveyError(f"container {name} didn't complete successfully: exit {code}")
        return "Exited" if ended else ""
    health = (state.get("Health") or {}).get("Status", "none")
    if health == "healthy":
        return "Healthy"
    if health == "unhealthy":
        raise CoveyError(f"container {name} is unhealthy")
    if ended:
        if condition == READY and not code:
            return "Exited"
        raise CoveyError(f"container {name} exited ({code})")
    if health in ("none", ""):
        if condition == READY:
            return "Healthy" if state.get("Running") else ""
        raise CoveyError(f"container {name} has no healthcheck configured")
    return ""
