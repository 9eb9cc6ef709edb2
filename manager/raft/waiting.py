"""Who waits for what of a node: proposals for their entries, reads for their index.

Law: a waiter is answered once: with the log index when its very entry (index and term) is applied here, or with NotLeaderError
when leadership is lost, its outcome unknown. Bounded in number and bytes.
"""

from __future__ import annotations

import asyncio

from covey.errors import UnavailableError
from manager.store.consensus import NotLeaderError

MAX_WAITING = 16384
MAX_WAITING_BYTES = 64 << 20

Answer = asyncio.Future[int]


class Waiting:
    """Used on one event loop."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[int, Answer]] = {}
        self._queue: list[tuple[bytes, Answer]] = []
        self._queue_bytes = 0
        self._reads: dict[bytes, Answer] = {}
        self._applied: list[tuple[int, Answer]] = []

    def propose(self, data: bytes) -> Answer:
        """Queues a proposal for the next turn of the driver. Raises UnavailableError over the bound."""
        if len(self._queue) + len(self._entries) >= MAX_WAITING or self._queue_bytes + len(data) > MAX_WAITING_BYTES:
            raise UnavailableError("too many writes are waiting to be committed; try again shortly")
        answer: Answer = asyncio.get_running_loop().create_future()
        self._queue.append((data, answer))
        self._queue_bytes += len(data)
        return answer

    def take_proposals(self) -> list[tuple[bytes, Answer]]:
        """What is queued, but for those whose caller went away."""
        queue, self._queue, self._queue_bytes = self._queue, [], 0
        return [(data, answer) for data, answer in queue if not answer.done()]

    def expect(self, index: int, term: int, answer: Answer) -> None:
        """The answer's entry is in the log."""
        self._entries[index] = (term, answer)

    def read(self, context: bytes) -> Answer:
        answer: Answer = asyncio.get_running_loop().create_future()
        self._reads[context] = answer
        return answer

    def forget_read(self, context: bytes) -> None:
        self._reads.pop(context, None)

    def confirmed(self, context: bytes, index: int) -> None:
        """A read may be answered once ``index`` is applied."""
        answer = self._reads.pop(context, None)
        if answer:
            self._applied.append((index, answer))

    def applied(self, index: int, term: int) -> None:
        """An entry was applied."""
        waiter = self._entries.pop(index, None)
        if waiter and not waiter[1].done():
            if waiter[0] == term:
                waiter[1].set_result(index)
            else:
                waiter[1].set_exception(NotLeaderError)

    def applied_up_to(self, index: int) -> None:
        """Answers reads."""
        if not self._applied:
            return
        for needed, answer in self._applied:
            if needed <= index and not answer.done():
                answer.set_result(needed)
        self._applied = [(needed, answer) for needed, answer in self._applied if needed > index]

    def lose(self, leader_addr: str, *, before_term: int | None = None) -> None:
        """Fails what was proposed, or only what was in terms before one."""
        for index, (term, answer) in list(self._entries.items()):
            if before_term is None or term < before_term:
                del self._entries[index]
                fail(answer, NotLeaderError(leader_addr))

    def close(self) -> None:
        """Fails everything."""
        gone = UnavailableError("this manager is shutting down; ask another one")
        for _, answer in self.take_proposals():
            fail(answer, gone)
        for answer in (*self._reads.values(), *(answer for _, answer in self._applied)):
            fail(answer, gone)
        self.lose("")


def fail(answer: Answer, error: Exception) -> None:
    """Fails an answer that somebody still waits for."""
    if not answer.done():
        answer.set_exception(error)
