"""What the leader knows of each peer's log, and how it sends to it.

PROBE: where the logs agree is unknown, one append a heartbeat. REPLICATE: appends stream, as many in flight as the window
allows. SNAPSHOT: a snapshot is on its way, no appends.
Law: `match` is what the peer has acknowledged as durable and never falls within a term; `next` is a guess, above `match`.
"""

from __future__ import annotations

import enum
from collections import deque


class ProgressState(enum.Enum):
    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """One peer as its leader sees it."""

    __slots__ = (
        "_inflight",
        "_window",
        "is_learner",
        "match",
        "next",
        "pending_snapshot",
        "probe_sent",
        "recent_active",
        "sent_commit",
        "state",
    )

    def __init__(self, *, next_index: int, window: int, is_learner: bool = False) -> None:
        self.match = 0
        self.next = next_index
        self.state = ProgressState.PROBE
        self.is_learner = is_learner
        self.recent_active = False
        self.probe_sent = False
        self.pending_snapshot = 0
        self.sent_commit = 0
        self._inflight: deque[int] = deque()
        self._window = window

    @property
    def paused(self) -> bool:
        """Whether no append may be sent now."""
        if self.state is ProgressState.REPLICATE:
            return len(self._inflight) >= self._window
        return self.state is ProgressState.SNAPSHOT or self.probe_sent

    @property
    def inflight(self) -> int:
        """How many appends with entries are on their way."""
        return len(self._inflight)

    def become_probe(self) -> None:
        beyond = self.pending_snapshot if self.state is ProgressState.SNAPSHOT else 0
        self._reset(ProgressState.PROBE)
        self.next = max(self.match, beyond) + 1

    def become_replicate(self) -> None:
        self._reset(ProgressState.REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: int) -> None:
        self._reset(ProgressState.SNAPSHOT)
        self.pending_snapshot = index
        self.next = index + 1

    def _reset(self, state: ProgressState) -> None:
        self.state = state
        self.probe_sent = False
        self.pending_snapshot = 0
        self.sent_commit = 0
        self._inflight.clear()

    def sent(self, last_index: int, count: int, commit: int) -> None:
        """An append of `count` entries up to `last_index` left."""
        self.sent_commit = commit
        if self.state is ProgressState.PROBE:
            self.probe_sent = True
        elif count:
            self.next = last_index + 1
            self._inflight.append(last_index)

    def acknowledge(self, index: int) -> bool:
        """The peer has everything up to `index`; whether that was news."""
        while self._inflight and self._inflight[0] <= index:
            self._inflight.popleft()
        news = index > self.match
        if news:
            self.match = index
            self.probe_sent = False
        self.next = max(self.next, index + 1)
        return news

    def release_one(self) -> None:
        """Lets one append pass a full window: the oldest one in flight may have been lost."""
        if len(self._inflight) >= self._window:
            self._inflight.popleft()

    def retreat(self, rejected: int, hint: int) -> bool:
        """The peer refused an append after `rejected`; its log may agree up to `hint`. False when the refusal is stale."""
        if self.state is ProgressState.REPLICATE:
            if rejected <= self.match:
                return False
            self.next = self.match + 1
            return True
        if self.next - 1 != rejected:
            return False
        self.next = max(min(rejected, hint + 1), self.match + 1)
        self.probe_sent = False
        return True
