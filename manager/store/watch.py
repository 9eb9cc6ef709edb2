"""Watches of the store: a snapshot and every later commit, through a bounded queue.

Invariant: no gap and no overlap. A reader that falls behind its limit, or whose store was replaced by a snapshot of the leader, gets
LaggedError and starts again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from covey.errors import LaggedError
from covey.objects import Struct
from manager.store.commit import Commit

DEFAULT_LIMIT = 4096
"""Maximum number of unread commits."""


class Watch(AsyncIterator[Commit]):
    """The queue of one reader, without commits that change only objects of the ``ignored`` kinds. Made by ``Store.watch``, read by one
    coroutine.
    """

    __slots__ = ("_ignored", "_limit", "_lost", "_queue", "_wake")

    def __init__(self, limit: int, ignored: frozenset[type[Struct]] = frozenset()) -> None:
        self._limit = limit
        self._ignored = ignored
        self._queue: deque[Commit] = deque()
        self._wake = asyncio.Event()
        self._lost = ""

    def push(self, commit: Commit) -> None:
        if self._lost or (self._ignored and all(type(change.item) in self._ignored for change in commit.changes)):
            return
        if len(self._queue) >= self._limit:
            self.invalidate(f"the reader is {self._limit} commits behind; start again from a new view")
            return
        self._queue.append(commit)
        self._wake.set()

    def invalidate(self, reason: str) -> None:
        """Ends the watch with LaggedError and drops unread commits."""
        self._lost = reason
        self._queue.clear()
        self._wake.set()

    @property
    def ready(self) -> bool:
        """Whether the next read returns or raises at once."""
        return bool(self._queue or self._lost)

    async def __anext__(self) -> Commit:
        while True:
            if self._lost:
                raise LaggedError(self._lost)
            if self._queue:
                return self._queue.popleft()
            self._wake.clear()
            await self._wake.wait()
