"""Follows the logs of several containers at once and writes their lines with prefixes."""

import sys
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cli.client import DaemonClient, DaemonError
from cli.compose.log_lines import LineBuffer, prefixes, short_names
from cli.compose.model import ExistingContainer
from cli.terminal.multiplexed import STDERR, STDOUT, read_frames

MAX_FOLLOWED = 256


class LogPrinter:
    """Writes the output of containers line by line; threads may write at the same time."""

    def __init__(
        self, project: str, containers: Iterable[ExistingContainer], *, colored: bool, prefixed: bool = True
    ) -> None:
        self._names = short_names(project, [item.name for item in containers])
        self._prefixes = prefixes(self._names.values(), colored=colored, shown=prefixed)
        self._lock = threading.Lock()

    def copy(self, daemon: DaemonClient, container: ExistingContainer, query: Mapping[str, Any]) -> None:
        """Write one container's log, to its end or until the container ends."""
        buffer = LineBuffer(self._prefixes[self._names[container.name]])
        try:
            tty = bool(daemon.get(f"/containers/{container.id}/json")["Config"].get("Tty"))
            chunks = daemon.chunks("GET", f"/containers/{container.id}/logs", {**query, "stdout": True, "stderr": True})
            for stream, data in ((STDOUT, chunk) for chunk in chunks) if tty else read_frames(chunks):
                self._write(stream, buffer.add(stream, data))
        except DaemonError as error:
            if error.status not in (404, 409):  # it was removed meanwhile
                raise
        self._write(STDOUT, buffer.end())

    def note(self, container: ExistingContainer, text: str) -> None:
        """A line about a container."""
        name = self._names.get(container.name, container.name)
        self._write(STDOUT, f"{name} {text}\n".encode())

    def _write(self, stream: int, data: bytes) -> None:
        if not data:
            return
        with self._lock:
            out = (sys.stderr if stream == STDERR else sys.stdout).buffer
            out.write(data)
            out.flush()


def print_logs(
    daemon: DaemonClient, printer: LogPrinter, containers: Iterable[ExistingContainer], query: Mapping[str, Any]
) -> None:
    """Write the logs of containers; with ``follow`` at the same time, until all have ended."""
    listed = list(containers)
    if not query.get("follow"):
        for item in listed:
            printer.copy(daemon, item, query)
        return
    with ThreadPoolExecutor(min(max(len(listed), 1), MAX_FOLLOWED)) as pool:
        for job in [pool.submit(printer.copy, daemon, item, query) for item in listed]:
            job.result()


def use_colors(ansi: str, *, no_color: bool = False) -> bool:
    return not no_color and (ansi == "always" or (ansi == "auto" and sys.stdout.isatty()))
