"""The one task group of the container service, open from `open` to `close` although those run in different tasks of
the caller.

Law: every background task of this package lives in it; a task that fails is logged and takes no other with it;
closing cancels all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger(__name__)


class Nursery:
    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._owner: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()

    async def open(self) -> None:
        ready = asyncio.Event()
        self._owner = asyncio.create_task(self._own(ready), name="containers")
        await ready.wait()

    def spawn(self, work: Coroutine[Any, Any, object], name: str) -> asyncio.Task[None] | None:
        """Run it in the background; None (and the work dropped) once the nursery is closed."""
        if self._group is None or self._stop.is_set():
            work.close()
            return None
        task = self._group.create_task(self._guard(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        self._stop.set()
        if self._owner is not None:
            await self._owner
            self._owner = None

    async def _own(self, ready: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            ready.set()
            await self._stop.wait()
            for task in list(self._tasks):
                task.cancel()
        self._group = None

    @staticmethod
    async def _guard(work: Coroutine[Any, Any, object], name: str) -> None:
        try:
            await work
        except Exception:
            _log.exception("%s failed", name)
