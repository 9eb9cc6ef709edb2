"""Queue of ReadIndex requests on the leader that wait for a quorum to confirm its leadership (thesis, section 6.4).

Invariant: a read is answered with the commit index of the moment it was requested, and only after a quorum answered a
heartbeat sent later than that. Heartbeat rounds are numbered; a reply to one round confirms all earlier ones.
"""

from __future__ import annotations

from collections import deque

import msgspec


class PendingRead(msgspec.Struct, frozen=True, gc=False):
    round: int
    index: int
    reader: int
    context: bytes


class ReadQueue:
    """The reads of one leader's term, oldest first."""

    __slots__ = ("_acked", "_early", "_limit", "_pending", "_round", "unsent")

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._round = 0
        self._acked: dict[int, int] = {}
        self._pending: deque[PendingRead] = deque()
        self._early: list[tuple[int, bytes]] = []
        self.unsent = False
        """Whether there are reads for which no heartbeat was sent yet."""

    def clear(self) -> None:
        self._acked.clear()
        self._pending.clear()
        self._early.clear()
        self._round = 0
        self.unsent = False

    @property
    def full(self) -> bool:
        return len(self._pending) + len(self._early) >= self._limit

    def postpone(self, reader: int, context: bytes) -> None:
        """Keeps a read until the leader has committed an entry of its own term; before that its commit index may be outdated."""
        self._early.append((reader, context))

    def take_postponed(self) -> list[tuple[int, bytes]]:
        early, self._early = self._early, []
        return early

    def add(self, reader: int, context: bytes, commit: int) -> None:
        """Adds a read; reads that arrive between two broadcasts share one round."""
        if not self.unsent:
            self._round += 1
            self.unsent = True
        self._pending.append(PendingRead(self._round, commit, reader, context))

    @property
    def heartbeat_context(self) -> bytes:
        """The context for heartbeats: the latest round, or empty if no read waits for one."""
        return self._round.to_bytes(8, "big") if self._pending else b""

    def acknowledge(self, peer: int, context: bytes) -> dict[int, int]:
        """Records the latest round that a peer answered; returns it for each peer."""
        if len(context) == 8:
            self._acked[peer] = max(self._acked.get(peer, 0), int.from_bytes(context, "big"))
        return self._acked

    def acknowledge_self(self, own: int) -> dict[int, int]:
        """This leader confirms its own latest round."""
        self._acked[own] = self._round
        return self._acked

    @property
    def waiting(self) -> bool:
        return bool(self._pending)

    def take_confirmed(self, confirmed_round: int) -> list[PendingRead]:
        """Removes and returns the reads of all rounds up to `confirmed_round`."""
        done: list[PendingRead] = []
        while self._pending and self._pending[0].round <= confirmed_round:
            done.append(self._pending.popleft())
        return done
