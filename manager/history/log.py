"""History log of a manager: the last entries in memory, and subscribers of the next ones.

Invariant: at most ``MAX_ENTRIES`` entries, at most ``MAX_PER_SUBJECT`` about one service or one kind of other objects, so that one
service in a crash loop pushes out nobody else's. A subscriber whose queue is full gets LaggedError and starts again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager

from covey.errors import LaggedError
from covey.objects import HistoryEntry

MAX_ENTRIES = 4_096
MAX_PER_SUBJECT = 256
QUEUE = 4_096

Position = tuple[int, int]


class HistoryLog:
    """The entries by subject: a service, or a kind of other objects."""

    def __init__(self, max_entries: int = MAX_ENTRIES, max_per_subject: int = MAX_PER_SUBJECT) -> None:
        self._max_entries = max_entries
        self._max_per_subject = max_per_subject
        self._subjects: dict[str, deque[HistoryEntry]] = {}
        self._count = 0
        self._end: Position = (0, 0)
        self._readers: set[asyncio.Queue[HistoryEntry | None]] = set()

    @property
    def end(self) -> Position:
        """The place after the last commit that was seen."""
        return self._end

    def add(self, version: int, entries: Iterable[HistoryEntry]) -> None:
        """Adds the entries of the next commit."""
        self._end = (version, 1 << 30)
        for entry in entries:
            self._remember(entry)
            for queue in list(self._readers):
                if queue.full():
                    self._readers.discard(queue)
                    queue.get_nowait()
                    queue.put_nowait(None)
                else:
                    queue.put_nowait(entry)

    def entries(self, *, after: Position = (0, 0), since_ns: int = 0) -> list[HistoryEntry]:
        """The entries after a place and not before a time, in order."""
        found = [
            entry
            for subject in self._subjects.values()
            for entry in subject
            if entry.position > after and entry.timestamp_ns >= since_ns
        ]
        return sorted(found, key=lambda entry: entry.position)

    @contextmanager
    def follow(self, after: Position | None = None) -> Iterator[AsyncIterator[HistoryEntry]]:
        """The entries after a place (None: from now on), and all later ones, without gap or overlap."""
        queue: asyncio.Queue[HistoryEntry | None] = asyncio.Queue(QUEUE)
        past = [] if after is None else self.entries(after=after)
        self._readers.add(queue)
        try:
            yield _read(past, queue, after or (0, 0))
        finally:
            self._readers.discard(queue)

    def _remember(self, entry: HistoryEntry) -> None:
        subject = self._subjects.setdefault(entry.service_id or entry.kind, deque())
        subject.append(entry)
        self._count += 1
        if len(subject) > self._max_per_subject:
            subject.popleft()
            self._count -= 1
        elif self._count > self._max_entries:
            oldest = min(self._subjects, key=lambda key: self._subjects[key][0].position)
            self._subjects[oldest].popleft()
            self._count -= 1
            if not self._subjects[oldest]:
                del self._subjects[oldest]


async def _read(
    past: list[HistoryEntry], queue: asyncio.Queue[HistoryEntry | None], after: Position
) -> AsyncIterator[HistoryEntry]:
    for entry in past:
        yield entry
    while (following := await queue.get()) is not None:
        if following.position > after:  # a manager that has just become the leader may still catch up
            yield following
    raise LaggedError("the history went on faster than this client read it; read on from the last entry")
