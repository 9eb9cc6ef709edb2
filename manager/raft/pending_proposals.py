"""Pending proposals: futures of writes that wait to be proposed or to be committed and applied.

Invariant: each future is resolved once: with the log index when its own entry (index and term) is applied here, with
NotLeaderError when that can no longer happen, or with OutcomeUnknownError. Bounded in number and bytes.
"""

from __future__ import annotations

import asyncio

from covey.errors import UnavailableError
from manager.store.consensus import NotLeaderError, OutcomeUnknownError

MAX_PROPOSALS = 16384
MAX_PROPOSAL_BYTES = 64 << 20
_UNKNOWN = (
    "leadership was lost before a majority of managers confirmed the change, which may or may not take effect; check the "
    "object's state before you retry"
)

IndexFuture = asyncio.Future[int]


class PendingProposals:
    """The proposals of one node. Used on one event loop."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[int, IndexFuture]] = {}
        self._queue: list[tuple[bytes, IndexFuture]] = []
        self._queue_bytes = 0

    def propose(self, data: bytes) -> IndexFuture:
        """Queues a proposal for the driver's next turn. Raises UnavailableError if too many are waiting."""
        if len(self._queue) + len(self._entries) >= MAX_PROPOSALS or self._queue_bytes + len(data) > MAX_PROPOSAL_BYTES:
            raise UnavailableError("too many writes are waiting to be committed; try again shortly")
        future: IndexFuture = asyncio.get_running_loop().create_future()
        self._queue.append((data, future))
        self._queue_bytes += len(data)
        return future

    def take_queued(self) -> list[tuple[bytes, IndexFuture]]:
        """Takes the queued proposals, also those whose caller was cancelled: the store counts them as in flight until applied."""
        queue, self._queue, self._queue_bytes = self._queue, [], 0
        return queue

    def track(self, index: int, term: int, future: IndexFuture) -> None:
        """The proposal is in the log at this index and term."""
        self._entries[index] = (term, future)

    def entry_applied(self, index: int, term: int) -> None:
        """Resolves the future of an applied entry. If another leader's entry is at its index, the proposal can never be committed."""
        waiter = self._entries.pop(index, None)
        if waiter and not waiter[1].done():
            if waiter[0] == term:
                waiter[1].set_result(index)
            else:
                waiter[1].set_exception(NotLeaderError)

    def fail_unknown(self, *, before_term: int | None = None) -> None:
        """Fails the proposals in the log, or those of terms before ``before_term``, because their outcome is unknown here."""
        for index, (term, future) in list(self._entries.items()):
            if before_term is None or term < before_term:
                del self._entries[index]
                fail(future, OutcomeUnknownError(_UNKNOWN))

    def reject_queued(self, leader_addr: str) -> None:
        """Fails the queued proposals, which never entered the log."""
        for _, future in self.take_queued():
            fail(future, NotLeaderError(leader_addr))

    def close(self) -> None:
        """Fails everything."""
        error = UnavailableError("this manager is shutting down; ask another one")
        for _, future in self.take_queued():
            fail(future, error)
        self.fail_unknown()


def fail(future: IndexFuture, error: Exception) -> None:
    """Fails a future unless it is resolved or cancelled."""
    if not future.done():
        future.set_exception(error)
