"""Time merge: items of several sources in the order of their times, with a bound on how long a silent source may delay the others. Pure.

Invariant: items of one source keep their order. If every source is sorted and none is late, the result is sorted.
Used by the log broker for the lines of nodes, and by a node's log publisher for those of its tasks. Times of arrival come in as arguments.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Source(Generic[T]):
    __slots__ = ("closed", "heard_at", "items", "opened_at")

    def __init__(self, opened_at: float) -> None:
        self.opened_at = opened_at
        self.items: deque[tuple[int, float, T]] = deque()
        self.heard_at = 0.0
        self.closed = False


class TimeMerge(Generic[T]):
    """``hold_seconds`` is how long an item waits for earlier ones of a source that has just become silent; None: until all sources have
    items or are closed.
    ``first_seconds`` is the longer wait for a source that was never heard of. Arrival times are seconds of any steady clock.
    """

    def __init__(self, hold_seconds: float | None = None, first_seconds: float = 0.0) -> None:
        self._hold_seconds = hold_seconds
        self._first_seconds = first_seconds
        self._sources: dict[Hashable, _Source[T]] = {}
        self._heads: list[tuple[int, int, Hashable]] = []
        self._empty: set[Hashable] = set()
        self._sequence = 0

    def open(self, key: Hashable, now: float) -> None:
        """Adds a source."""
        self._sources[key] = _Source(now)
        self._empty.add(key)

    def touch(self, key: Hashable, now: float) -> None:
        """The source is alive and has nothing earlier to say for now."""
        if key in self._sources:
            self._sources[key].heard_at = now

    def put(self, key: Hashable, time_ns: int, item: T, now: float) -> None:
        """Adds an item of an open source."""
        source = self._sources[key]
        source.heard_at = now
        source.items.append((time_ns, now, item))
        if len(source.items) == 1:
            self._push(key, time_ns)

    def close(self, key: Hashable) -> None:
        """The source sends no more. What it sent is still returned."""
        source = self._sources.get(key)
        if source is None:
            return
        source.closed = True
        self._empty.discard(key)
        if not source.items:
            del self._sources[key]

    def is_open(self, key: Hashable) -> bool:
        """Whether the source may send more."""
        source = self._sources.get(key)
        return source is not None and not source.closed

    def waiting(self, key: Hashable) -> int:
        """Number of items of a source that were not taken yet."""
        source = self._sources.get(key)
        return len(source.items) if source is not None else 0

    def __len__(self) -> int:
        """Number of sources that are open or have items left."""
        return len(self._sources)

    def take(self, now: float) -> T | None:
        """The next item; None if there is none, or if an earlier one may still come."""
        if not self._heads or self.ready_at(now) > now:
            return None
        _, _, key = heapq.heappop(self._heads)
        source = self._sources[key]
        _, _, item = source.items.popleft()
        if source.items:
            self._push(key, source.items[0][0])
        elif source.closed:
            del self._sources[key]
        else:
            self._empty.add(key)
        return item

    def ready_at(self, now: float) -> float:
        """When `take` returns the next item if nothing else happens: ``now`` or later; infinity if only an event can tell."""
        if not self._heads:
            return float("inf")
        if not self._empty:
            return now
        if self._hold_seconds is None:
            return float("inf")
        arrived_at = self._sources[self._heads[0][2]].items[0][1]
        waits = [self._wait_until(self._sources[key], arrived_at) for key in self._empty]
        return max(now, *waits)

    def _wait_until(self, silent: _Source[T], arrived_at: float) -> float:
        until = max(arrived_at, silent.heard_at) + (self._hold_seconds or 0.0)
        return until if silent.heard_at else max(until, silent.opened_at + self._first_seconds)

    def _push(self, key: Hashable, time_ns: int) -> None:
        self._sequence += 1
        heapq.heappush(self._heads, (time_ns, self._sequence, key))
        self._empty.discard(key)
