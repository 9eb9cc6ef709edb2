"""Pending transactions: proposed and not yet applied, with the objects and indexes that they change.

Invariant: while a transaction of this leader is pending, none that reads or changes the same is proposed. A transaction
that conflicts four times runs alone for up to four more attempts, so none starves.
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
    """A pending transaction. ``accepted`` is None until it is applied or refused, and also if its outcome is unknown."""

    __slots__ = ("accepted", "done", "touches")

    def __init__(self, touches: set[Touch]) -> None:
        self.touches = touches
        self.accepted: bool | None = None
        self.done = asyncio.Event()


class PendingTransactions:
    """All pending transactions of this manager. Used on one event loop."""

    def __init__(self) -> None:
        self._pending: dict[int, PendingTransaction] = {}
        self._by_touch: dict[Touch, PendingTransaction] = {}
        self._term = 0
        self._exclusive = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()

    def enter_term(self, term: int) -> None:
        """Ends transactions of earlier terms: once this manager leads again, they are applied or lost."""
        if term != self._term:
            self._term = term
            for request_id in list(self._pending):
                self.end(request_id, accepted=None)

    def conflict(self, reads: AbstractSet[Touch]) -> PendingTransaction | None:
        """A pending transaction that changes something in ``reads``. A transaction reads everything that it changes."""
        if not self._by_touch:
            return None
        for touch in reads:
            pending = self._by_touch.get(touch)
            if pending is not None:
                return pending
        return None

    def begin(self, request_id: int, touches: set[Touch]) -> PendingTransaction:
        """Adds a transaction. Raises UnavailableError if there are too many."""
        if len(self._pending) >= MAX_PENDING:
            raise UnavailableError(f"{MAX_PENDING} writes to the store are waiting for their commit; try again shortly")
        pending = PendingTransaction(touches)
        self._pending[request_id] = pending
        self._by_touch.update(dict.fromkeys(touches, pending))
        self._idle.clear()
        return pending

    def end(self, request_id: int, *, accepted: bool | None) -> None:
        """Removes a transaction. ``accepted`` is None if its outcome is unknown."""
        pending = self._pending.pop(request_id, None)
        if pending is None:
            return
        for touch in pending.touches:
            if self._by_touch.get(touch) is pending:
                del self._by_touch[touch]
        pending.accepted = accepted
        pending.done.set()
        if not self._pending:
            self._idle.set()

    async def wait_admitted(self) -> None:
        """Waits while a transaction has the store alone."""
        if self._exclusive.locked():
            async with _deadline(), self._exclusive:
                return

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """While inside, no other transaction is pending or starts."""
        async with _deadline():
            await self._exclusive.acquire()
        try:
            async with _deadline():
                await self._idle.wait()
            yield
        finally:
            self._exclusive.release()


async def wait_done(pending: PendingTransaction) -> None:
    async with _deadline():
        await pending.done.wait()


@asynccontextmanager
async def _deadline() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            yield
    except TimeoutError:
        raise UnavailableError(
            f"an earlier write to the same objects was not committed within {WAIT_SECONDS:.0f} s; nothing was changed",
        ) from None
