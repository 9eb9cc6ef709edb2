"""Pending linearizable reads: batches reads that share one ReadIndex request to the leader.

Invariant: a read is answered by a request that was sent after the read began, and only when the confirmed index is
applied here. So it sees every write acknowledged before it. One request is in flight at a time; reads that arrive
meanwhile share the next one. Used by the driver on its event loop.
"""

from __future__ import annotations

import asyncio
import secrets

from covey.errors import UnavailableError

MAX_READS = 16384
RETRY_TICKS = 5
"""A request is repeated after so many ticks, because it may be lost together with its leader."""

IndexFuture = asyncio.Future[int]


class PendingReads:
    """The reads of one node."""

    def __init__(self) -> None:
        self._waiting: list[IndexFuture] = []
        self._requested: list[IndexFuture] = []
        self._context = b""
        self._ticks = 0
        self._confirmed: list[tuple[int, IndexFuture]] = []

    def read(self) -> IndexFuture:
        """Resolves to the index that is applied by then. Raises UnavailableError if too many reads are waiting."""
        if len(self._waiting) + len(self._requested) + len(self._confirmed) >= MAX_READS:
            raise UnavailableError("too many reads are waiting for a majority of managers; try again shortly")
        future: IndexFuture = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    def next_request(self) -> bytes | None:
        """The context of a request to send now, or None if no reads wait or a request is in flight. A context is used once."""
        if self._context or not self._waiting:
            return None
        self._requested = [future for future in self._waiting if not future.done()]
        self._waiting = []
        if not self._requested:
            return None
        self._context, self._ticks = secrets.token_bytes(8), 0
        return self._context

    def confirmed(self, context: bytes, index: int) -> None:
        """The leader answered the request with this context."""
        if context != self._context:
            return  # the future to an earlier request, which was repeated
        self._context = b""
        self._confirmed += [(index, future) for future in self._requested]
        self._requested = []

    def retry(self) -> None:
        """Gives up the request in flight: there is no leader, or a different one."""
        self._waiting = self._requested + self._waiting
        self._requested = []
        self._context = b""

    def tick(self) -> None:
        """Repeats a request that was not answered in time."""
        if self._context:
            self._ticks += 1
            if self._ticks >= RETRY_TICKS:
                self.retry()

    def applied_up_to(self, index: int) -> None:
        """Resolves the confirmed reads whose index is applied."""
        if not self._confirmed:
            return
        for needed, future in self._confirmed:
            if needed <= index and not future.done():
                future.set_result(needed)
        self._confirmed = [(needed, future) for needed, future in self._confirmed if needed > index]

    def close(self, error: Exception) -> None:
        """Fails everything."""
        for future in (*self._waiting, *self._requested, *(future for _, future in self._confirmed)):
            if not future.done():
                future.set_exception(error)
        self._waiting, self._requested, self._confirmed = [], [], []
