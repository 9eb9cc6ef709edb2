"""Event bus with bounded queues: delivers each event to all subscriptions.

Invariant: a reader that lags loses no events silently; it gets LaggedError after the events that its queue still has.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from covey.errors import LaggedError

QUEUE_LIMIT = 1024

T = TypeVar("T")


class EventSubscription(Generic[T]):
    """The queue of one reader. Implements `agent.container.api.EventQueue`."""

    def __init__(self) -> None:
        self._events: deque[T] = deque()
        self._arrived = asyncio.Event()
        self._lagged = False
        self._closed = False

    def put(self, event: T) -> None:
        if len(self._events) >= QUEUE_LIMIT:
            self._lagged = True
        elif not self._lagged:
            self._events.append(event)
        self._arrived.set()

    def end(self) -> None:
        self._closed = True
        self._arrived.set()

    async def get(self) -> T:
        """The next event. Raises LaggedError after an overflow, and EOFError once the bus is closed."""
        while not self._events:
            if self._lagged:
                raise LaggedError(f"over {QUEUE_LIMIT} events were not read in time: list the objects again")
            if self._closed:
                raise EOFError
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            try:
                event = await self.get()
            except EOFError:
                return
            yield event


class EventBus(Generic[T]):
    """Delivers each event to all subscriptions."""

    def __init__(self) -> None:
        self._readers: list[EventSubscription[T]] = []

    def emit(self, event: T) -> None:
        for reader in self._readers:
            reader.put(event)

    @contextmanager
    def subscribe(self) -> Iterator[EventSubscription[T]]:
        reader = EventSubscription[T]()
        self._readers.append(reader)
        try:
            yield reader
        finally:
            self._readers.remove(reader)

    def close(self) -> None:
        for reader in self._readers:
            reader.end()
