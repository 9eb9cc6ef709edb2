"""Background tasks of one part of the agent, from its `open` to its `close`.

Invariant: a task that raises is logged and affects no other task. Exceptions are swallowed, unlike in an
`TaskGroup` or a trio nursery. Invariant: `close` cancels all tasks and waits for them. `open` and `close` may
run in different tasks of the caller. Used by containers, networks and the worker.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from covey.task_group import TaskGroup

log = logging.getLogger(__name__)


class BackgroundTasks:
    """Opened and closed once. `owner` names the part in log messages."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._group: TaskGroup | None = None
        self._group_task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    async def open(self) -> None:
        """Start to accept tasks."""
        opened = asyncio.Event()
        # The one task outside a group: it holds the group between open and close, and close awaits it.
        self._group_task = asyncio.create_task(self._hold_group(opened), name=self._owner)
        await opened.wait()

    def spawn(self, work: Coroutine[Any, Any, object], name: str = "") -> asyncio.Task[None] | None:
        """Run the coroutine in the background. Before `open` and after `close` it is dropped, and None is returned.

        The task never raises: an exception is logged under `name`, and the task ends.
        """
        if self._group is None or self._closing.is_set():
            work.close()
            return None
        task = self._group.create_task(self._run_logged(work, name), name=name or None)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # if cancelled before its first step
        return task

    async def close(self) -> None:
        """Cancel all tasks and wait for them."""
        self._closing.set()
        if self._group_task is not None:
            await self._group_task
            self._group_task = None

    async def _hold_group(self, opened: asyncio.Event) -> None:
        async with TaskGroup() as group:
            self._group = group
            opened.set()
            await self._closing.wait()
            for task in list(self._tasks):
                task.cancel()
        self._group = None

    async def _run_logged(self, work: Coroutine[Any, Any, object], name: str) -> None:
        try:
            await work
        except Exception:  # a bug in one task must not end the others
            log.exception("%s: %s failed", self._owner, name or "a task")
