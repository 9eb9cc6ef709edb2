"""The one task group of the worker, open from ``start`` to ``close`` although those run in different tasks of their caller.

Every background task of the worker lives in it; one that fails is logged and takes no other with it; closing cancels all.
"""

import asyncio
import logging
from collections.abc import Coroutine

log = logging.getLogger(__name__)


class Crew:
    """Opened and closed once."""

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._owner: asyncio.Task[None] | None = None
        self._members: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    async def open(self) -> None:
        """Ready to spawn when it returns."""
        ready = asyncio.Event()
        self._owner = asyncio.create_task(self._own(ready), name="worker")
        await ready.wait()

    def spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run it in the background; dropped once the crew is closed."""
        if self._group is None or self._ended.is_set():
            work.close()
            return
        member = self._group.create_task(_guard(work, name), name=name)
        self._members.add(member)
        member.add_done_callback(self._members.discard)

    async def close(self) -> None:
        """Cancel everybody and wait for them."""
        self._ended.set()
        if self._owner is not None:
            await self._owner
            self._owner = None

    async def _own(self, ready: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            ready.set()
            await self._ended.wait()
            for member in list(self._members):
                member.cancel()
        self._group = None


async def _guard(work: Coroutine[None, None, None], name: str) -> None:
    try:
        await work
    except Exception:  # the last line of defence: a bug in one place must not end the node's work
        log.exception("%s ended with an error", name)
