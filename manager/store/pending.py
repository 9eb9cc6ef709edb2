"""Pending transactions: proposed and not yet applied, with the objects and indexes that they change.

Invariant: while a transaction of this leader is pending, none that reads or changes the same is proposed. A transaction that was
overtaken too often gets the store alone for one attempt, so none starves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager

from covey.errors import UnavailableError
from manager.store.table import Touch

MAX_PENDING = 8192
WAIT_SECONDS = 10.0


class PendingTransaction:
    """``accepted`` is None until the transaction is applied or refused."""

    __slots__ = ("accepted", "done", "touches")

    def __init__(self, touches: set[Touch]) -> None:
        self.touches = touches
        self.accepted: bool | None = None
        self.done = asyncio.Event()


class PendingTransactions:
    """Used on one event loop."""

    def __init__(self) -> None:
        self._flights: dict[int, PendingTransaction] = {}
        self._by_touch: dict[Touch, PendingTransaction] = {}
        self._term = 0
        self._turn = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()

    def enter_term(self, term: int) -> None:
        """What was proposed in an earlier term is applied or lost by the time that this manager leads again."""
        if term != self._term:
            self._term = term
            for request_id in list(self._flights):
                self.end(request_id, accepted=None)

    def conflict(self, reads: AbstractSet[Touch]) -> PendingTransaction | None:
        """A flight that changes what a transaction read. Whatever a transaction changes it has read before."""
        if not self._by_touch:
            return None
        for touch in reads:
            flight = self._by_touch.get(touch)
            if flight is not None:
                return flight
        return None

    def begin(self, request_id: int, touches: set[Touch]) -> PendingTransaction:
        """Raises UnavailableError when there are too many."""
        if len(self._flights) >= MAX_PENDING:
            raise UnavailableError(f"{MAX_PENDING} writes to the store are waiting to be committed; try again shortly")
        flight = PendingTransaction(touches)
        self._flights[request_id] = flight
        self._by_touch.update(dict.fromkeys(touches, flight))
        self._idle.clear()
        return flight

    def end(self, request_id: int, *, accepted: bool | None) -> None:
        """``accepted`` None: nobody knows what became of it."""
        flight = self._flights.pop(request_id, None)
        if flight is None:
            return
        for touch in flight.touches:
            if self._by_touch.get(touch) is flight:
                del self._by_touch[touch]
        flight.accepted = accepted
        flight.done.set()
        if not self._flights:
            self._idle.set()

    async def wait_admitted(self) -> None:
        """Waits while somebody has the store alone."""
        if self._turn.locked():
            async with _deadline(), self._turn:
                return

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """No other transaction is in flight, and none begins, while inside."""
        async with _deadline():
            await self._turn.acquire()
        try:
            async with _deadline():
                await self._idle.wait()
            yield
        finally:
            self._turn.release()


async def wait_done(flight: PendingTransaction) -> None:
    async with _deadline():
        await flight.done.wait()


@asynccontextmanager
async def _deadline() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            yield
    except TimeoutError:
        raise UnavailableError(
            f"an earlier write to the same objects was not committed within {WAIT_SECONDS:.0f} s; nothing was changed",
        ) from None
