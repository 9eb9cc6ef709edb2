"""Observable value: readers receive the latest value, and a slow reader skips intermediate ones, so nothing queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class ObservableValue(Generic[T]):
    """A value with subscribers. Used on one event loop."""

    __slots__ = ("_readers", "value")

    def __init__(self, value: T) -> None:
        self.value = value
        self._readers: list[asyncio.Event] = []

    def set(self, value: T) -> None:
        """Sets the value and wakes the readers, unless it is unchanged."""
        if value == self.value:
            return
        self.value = value
        for reader in self._readers:
            reader.set()

    @contextmanager
    def subscribe(self) -> Iterator[AsyncIterator[T]]:
        """Yields the present value, then the latest one after each change."""
        changed = asyncio.Event()
        changed.set()
        self._readers.append(changed)
        try:
            yield self._read(changed)
        finally:
            self._readers.remove(changed)

    async def _read(self, changed: asyncio.Event) -> AsyncIterator[T]:
        while True:
            await changed.wait()
            changed.clear()
            yield self.value
