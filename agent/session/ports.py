"""Interfaces between the session and the worker. ``agent.worker`` implements them; tests use a recorder instead."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from covey.objects import TaskStatus
from covey.objects.assignment import AssignmentChange
from covey.objects.base import Struct


class StatusUpdate(Protocol):
    """What became of a task."""

    @property
    def task_id(self) -> str: ...
    @property
    def status(self) -> TaskStatus: ...


class TaskLogOptions(Struct, frozen=True, kw_only=True):
    """Which lines of a task's log; ``tail`` counts from the end, negative: all; times of 0 mean no bound."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    tail: int = -1
    since_ns: int = 0
    until_ns: int = 0


class TaskLogEntry(Protocol):
    """One line, as ``agent.logs.entry.LogEntry``: ``stream`` is "stdout" or "stderr"."""

    @property
    def stream(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    @property
    def time_ns(self) -> int: ...


class WorkerPort(Protocol):
    """The worker, as the session drives it."""

    async def apply(self, changes: Sequence[AssignmentChange], *, complete: bool) -> None:
        """Takes over assignments; returns once they are accepted, not once they are carried out."""
        ...

    @property
    def statuses(self) -> AsyncIterator[StatusUpdate]:
        """Every change of a task's status, the latest of each task; also those of before a restart that may not have been reported."""
        ...

    def task_logs(self, task_id: str, options: TaskLogOptions) -> AsyncIterator[TaskLogEntry]:
        """Raises NotFoundError when this node has no such task."""
        ...
