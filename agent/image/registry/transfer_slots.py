"""Slots for transfers: at most so many run at a time, and the number can change meanwhile.

Invariant: waiters get slots in their order. A lower limit interrupts nothing: it applies as slots become free.
"""

import asyncio
from collections import deque


class TransferSlots:
    """An asynchronous context manager that waits for a slot and holds it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def set_limit(self, limit: int) -> None:
        """Let so many run from now on."""
        self._limit = limit
        self._grant()

    def locked(self) -> bool:
        """Whether a transfer would have to wait."""
        return self._running >= self._limit or bool(self._waiting)

    async def __aenter__(self) -> None:
        if not self.locked():
            self._running += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.cancelled():
                self._waiting.remove(turn)
            else:  # the slot was granted before the cancellation arrived
                self._release()
            raise

    async def __aexit__(self, *_error: object) -> None:
        self._release()

    def _release(self) -> None:
        self._running -= 1
        self._grant()

    def _grant(self) -> None:
        while self._running < self._limit:
            turn = next((turn for turn in self._waiting if not turn.done()), None)
            if turn is None:
                return
            self._waiting.remove(turn)
            self._running += 1
            turn.set_result(None)
