"""Service logs with the source of each line: ``web.1.0q7wp3zr8kv6@host    | text``."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from cli.client import DaemonClient, DaemonError
from cli.format.units import short_id
from cli.terminal.log_output import write_output

_PREFIX = "com.docker.swarm."
_SOURCE = {f"{_PREFIX}{kind}.id" for kind in ("service", "task", "node")}


class LogSourceNames:
    """Names of the services, tasks and nodes in a log, each requested once."""

    def __init__(self, daemon: DaemonClient, *, resolve: bool, task_ids: bool, trunc: bool) -> None:
        self._daemon = daemon
        self._resolve, self._task_ids, self._trunc = resolve, task_ids, trunc
        self._known: dict[str, Any] = {}

    def source_name(self, context: Mapping[str, str]) -> str:
        """The source of a line, from the ids that the daemon puts before it."""
        service, task, node = (context.get(f"{_PREFIX}{kind}.id", "") for kind in ("service", "task", "node"))
        found, host = self._get(f"/services/{service}"), self._get(f"/nodes/{node}")
        name = found["Spec"]["Name"] if found and self._resolve else service
        hostname = host["Description"]["Hostname"] if host and self._resolve else node
        replicas = (((found or {}).get("Spec") or {}).get("Mode", {}).get("Replicated") or {}).get("Replicas", 1)
        slot = (self._get(f"/tasks/{task}") or {}).get("Slot", 0)
        padding = " " * max(len(str(replicas)) - len(str(slot)), 0)
        parts = [name, str(slot) if slot else node]
        if self._task_ids:
            parts.append(short_id(task) if self._trunc else task)
        return f"{'.'.join(parts)}@{hostname}{padding}"

    def _get(self, path: str) -> Any:
        if path not in self._known:
            try:
                self._known[path] = self._daemon.get(path)
            except DaemonError:
                self._known[path] = None
        return self._known[path]


def split_line(line: bytes, *, timestamps: bool) -> tuple[str, dict[str, str], bytes]:
    """A line's timestamp (empty without timestamps), its context and its text."""
    time = ""
    if timestamps:
        head, _, line = line.partition(b" ")
        time = head.decode()
    head, _, text = line.partition(b" ")
    context = {
        unquote_plus(key): unquote_plus(value)
        for key, _, value in (pair.partition("=") for pair in head.decode(errors="replace").split(","))
    }
    return time, context, text


def print_logs(
    daemon: DaemonClient, path: str, query: Mapping[str, Any], *, names: LogSourceNames | None, details: bool, tty: bool
) -> None:
    """Print logs with the source of each line; without ``names`` only the lines."""
    timestamps = bool(query.get("timestamps"))
    request = {**query, "stdout": True, "stderr": True, "details": names is not None}

    def decorate(line: bytes) -> bytes:
        time, context, text = split_line(line, timestamps=timestamps)
        writer = names.source_name(context) if names else ""
        head = f"{time} " if time else ""
        if details:
            head += ",".join(f"{key}={value}" for key, value in sorted(context.items()) if key not in _SOURCE) + " "
        return f"{writer}    | {head}".encode() + text

    chunks = daemon.chunks("GET", path, request)
    write_output(chunks, framed=not tty, transform=decorate if names else None)
