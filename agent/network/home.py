"""The task group of a service that is started and closed: every task has an owner, and one's failure ends no other.

Law: `close` cancels what still runs and waits for it. Used by the driver for its resolvers and its sweeping.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)


class TaskHome:
    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    async def open(self) -> None:
        opened = asyncio.Event()
        # The one task that is nobody's child: it holds the group between open and close, and close awaits it.
        self._keeper = asyncio.create_task(self._keep(opened), name="covey-network-home")
        await opened.wait()

    async def close(self) -> None:
        self._closing.set()
        for task in tuple(self._tasks):
            task.cancel()
        if self._keeper is not None:
            await self._keeper

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        if self._group is None or self._closing.is_set():
            work.close()
            raise RuntimeError("the network driver is not running")
        task = self._group.create_task(_contained(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # a task that was cancelled before its first step
        return task

    async def _keep(self, opened: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as self._group:
            opened.set()
            await self._closing.wait()


async def _contained(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        logger.exception("a task of the network driver failed")
