"""Polling the daemon while a change converges: the interval, and how long an unavailable daemon is tolerated."""

import time

from cli.client import DaemonError
from covey.errors import CoveyError

POLL_SECONDS = 0.15
INTERRUPTED = 130
"""The exit code of an interrupted wait."""

UNAVAILABLE_TIMEOUT_SECONDS = 20.0


class UnavailableTimeout:
    """Tolerates errors while the cluster elects a leader, up to UNAVAILABLE_TIMEOUT_SECONDS after the first one."""

    def __init__(self) -> None:
        self._until = 0.0

    def check(self, error: CoveyError) -> None:
        """Raise the error if the daemon refused the request, or if errors have lasted too long."""
        now = time.monotonic()
        self._until = self._until or now + UNAVAILABLE_TIMEOUT_SECONDS
        if (isinstance(error, DaemonError) and error.status < 500) or now > self._until:
            raise error


class Deadline:
    """The end of a wait that the user has limited with ``--timeout``."""

    def __init__(self, timeout_ns: int) -> None:
        self._timeout_seconds = timeout_ns / 1e9
        self._end = time.monotonic() + self._timeout_seconds

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._end

    @property
    def text(self) -> str:
        """How long it was."""
        return f"{self._timeout_seconds:g}s"
