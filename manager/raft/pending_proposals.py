"""Pending proposals: futures of writes that wait to be proposed or to be committed and applied.

Invariant: each future is resolved once: with the log index when its own entry (index and term) is applied here, with
NotLeaderError when that can no longer happen, or with OutcomeUnknownError. Bounded in number and bytes.
A manager that loses the leadership still learns the outcomes from the next leader: terms never decrease along the log, so once an entry
of a later term is applied, an earlier term's proposal with a higher index can never be committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from covey.errors import UnavailableError
from manager.store.consensus import NotLeaderError, OutcomeUnknownError

MAX_PROPOSALS = 16384
MAX_PROPOSAL_BYTES = 64 << 20
_OUTCOME_TICKS = 30
"""How long a manager that lost the leadership waits for the next leader's log: longer than an election takes."""
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
        self._applied_term = 0
        self._ticks_deposed = 0

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
        """Resolves the future of an applied entry, and those of proposals that can never be committed now."""
        waiter = self._entries.pop(index, None)
        if waiter and not waiter[1].done():
            if waiter[0] == term:
                waiter[1].set_result(index)
            else:
                waiter[1].set_exception(NotLeaderError)
        if term > self._applied_term:
            self._applied_term = term
            self._reject_before(term)

    def snapshot_restored(self, index: int, term: int) -> None:
        """Fails the proposals that a snapshot up to ``index`` may contain, because their outcome is unknown, and rejects the lost ones."""
        self._fail_unknown([proposed for proposed in self._entries if proposed <= index])
        self._applied_term = max(self._applied_term, term)
        self._reject_before(self._applied_term)

    def _reject_before(self, term: int) -> None:
        """Rejects the proposals of earlier terms: an entry of this term is applied, and theirs are not."""
        for index, (proposed_in, future) in list(self._entries.items()):
            if proposed_in < term:
                del self._entries[index]
                fail(future, NotLeaderError())

    def tick(self, leading_term: int) -> None:
        """Counts one tick. ``leading_term`` is the term in which this node leads, or 0. Proposals of other terms fail after 3 s."""
        oldest = next(iter(self._entries.values()), None)
        if oldest is None or oldest[0] == leading_term:
            self._ticks_deposed = 0
            return
        self._ticks_deposed += 1
        if self._ticks_deposed >= _OUTCOME_TICKS:
            self._fail_unknown([index for index, (term, _) in self._entries.items() if term != leading_term])

    def fail_unknown(self) -> None:
        """Fails the proposals in the log, because their outcome is unknown here."""
        self._fail_unknown(list(self._entries))

    def _fail_unknown(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            fail(self._entries.pop(index)[1], OutcomeUnknownError(_UNKNOWN))

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
