"""Merge queue: a bounded mailbox of several sources over `TimeMerge`, for one consumer.

Invariant: a source waits while ``room`` of its items are not taken, so a fast one cannot fill the queue and a slow one not block itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from covey.errors import NotFoundError
from covey.time_merge import TimeMerge

T = TypeVar("T")


class MergeQueue(Generic[T]):
    """``changed`` is set when an item arrives or a source closes. Times are those of the event loop."""

    def __init__(self, merge: TimeMerge[T], room: int) -> None:
        self.changed = asyncio.Event()
        self._merge = merge
        self._room = room
        self._taken = asyncio.Event()
        self._ended = False

    def open(self, key: Hashable) -> None:
        """Adds a source."""
        self._merge.open(key, _now())

    def touch(self, key: Hashable) -> None:
        """As `TimeMerge.touch`."""
        self._merge.touch(key, _now())
        self.changed.set()

    async def put(self, key: Hashable, time_ns: int, item: T) -> None:
        """Adds an item, waiting for room. Raises NotFoundError if the source is closed, and after `end`."""
        while self._merge.waiting(key) >= self._room and not self._ended and self._merge.is_open(key):
            self._taken.clear()
            await self._taken.wait()
        if self._ended or not self._merge.is_open(key):
            raise NotFoundError("the reader of these logs is gone")
        self._merge.put(key, time_ns, item, _now())
        self.changed.set()

    def put_all(self, key: Hashable, items: Iterable[tuple[int, T]]) -> None:
        """Adds a source with all of its items, each with its time."""
        now = _now()
        self._merge.open(key, now)
        for time_ns, item in items:
            self._merge.put(key, time_ns, item, now)
        self.close(key)

    def close(self, key: Hashable) -> None:
        """The source sends no more."""
        self._merge.close(key)
        self.changed.set()
        self._taken.set()

    def end(self) -> None:
        """Ends waiting sources with an error."""
        self._ended = True
        self._taken.set()

    def take(self, limit: int) -> list[T]:
        """The items whose turn it is, at most ``limit``."""
        self.changed.clear()
        now = _now()
        items: list[T] = []
        while len(items) < limit and (item := self._merge.take(now)) is not None:
            items.append(item)
        if items:
            self._taken.set()
        return items

    def __len__(self) -> int:
        return len(self._merge)

    async def wait(self, seconds: float | None = None) -> None:
        """Waits after a `take` until an item may be ready or a source closes, but no longer than this."""
        ready_in = self._merge.ready_at(_now()) - _now()
        limit = min(ready_in, seconds) if seconds is not None else ready_in
        try:
            async with asyncio.timeout(max(0.0, limit) if limit != float("inf") else None):
                await self.changed.wait()
        except TimeoutError:
            return


def _now() -> float:
    return asyncio.get_running_loop().time()
