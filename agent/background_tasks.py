"""One task group of a part of the agent, open from ``open`` to ``close`` although those run in different tasks of their caller.

Law: every background task of that part lives in it; one that fails is logged and takes no other with it; closing cancels all and waits
for them. Used by containers, networks and the worker.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


class BackgroundTasks:
    """Opened and closed once. ``owner`` names the part in logs."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._group: asyncio.TaskGroup | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    async def open(self) -> None:
        """Ready to spawn when it returns."""
        opened = asyncio.Event()
        # The one task that is nobody's child: it holds the group between open and close, and close awaits it.
        self._keeper = asyncio.create_task(self._keep(opened), name=self._owner)
        await opened.wait()

    def spawn(self, work: Coroutine[Any, Any, object], name: str = "") -> asyncio.Task[None] | None:
        """Run it in the background; None, and the work dropped, before the opening and after the closing."""
        if self._group is None or self._closing.is_set():
            work.close()
            return None
        task = self._group.create_task(self._guarded(work, name), name=name or None)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # of a task that was cancelled before its first step
        return task

    async def close(self) -> None:
        """Cancel everything that runs and wait for it."""
        self._closing.set()
        if self._keeper is not None:
            await self._keeper
            self._keeper = None

    async def _keep(self, opened: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            opened.set()
            await self._closing.wait()
            for task in list(self._tasks):
                task.cancel()
        self._group = None

    async def _guarded(self, work: Coroutine[Any, Any, object], name: str) -> None:
        try:
            await work
        except Exception:  # the last line of defence: a bug in one place must not end the rest
            log.exception("%s: %s failed", self._owner, name or "a task")
