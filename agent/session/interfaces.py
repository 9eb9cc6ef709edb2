"""Interfaces between the session and the worker. ``agent.worker`` implements them; tests use a recorder instead."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from agent.session.status_queue import StatusQueue
from covey.objects.assignment import AssignmentChange
from covey.objects.base import Struct


class TaskLogOptions(Struct, frozen=True, kw_only=True):
    """Selects lines of a task's log. ``tail`` counts from the end, negative means all lines; a time of 0 means no limit."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    tail: int = -1
    since_ns: int = 0
    until_ns: int = 0


class TaskLogEntry(Protocol):
    """One log line, as ``agent.logs.entry.LogEntry``. ``stream`` is "stdout" or "stderr"."""

    @property
    def stream(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    @property
    def time_ns(self) -> int: ...


class WorkerPort(Protocol):
    """The worker, as the session uses it."""

    async def apply(self, changes: Sequence[AssignmentChange], *, complete: bool) -> None:
        """Takes over assignments; returns once they are saved, not once they are carried out."""
        ...

    @property
    def statuses(self) -> StatusQueue:
        """The queue of statuses to report; after a restart it holds the status of every task on record."""
        ...

    def task_logs(self, task_id: str, options: TaskLogOptions) -> AsyncIterator[TaskLogEntry]:
        """The log of a task. Raises NotFoundError if this node has no such task."""
        ...
