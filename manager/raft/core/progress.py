"""Replication progress of one follower as its leader tracks it, with flow control.

PROBE: the leader does not know where the logs agree and sends one append per heartbeat. REPLICATE: it streams appends
until the in-flight window is full; the window counts messages and bytes and is full when it reaches either limit, so one
large append may exceed it. SNAPSHOT: a snapshot is being sent, and no appends.
Invariant: `match` is acknowledged as durable and never falls within a term; `next` is a guess above `match`.
"""

from __future__ import annotations

import enum
from collections import deque

import msgspec


class ProgressState(enum.Enum):
    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class InflightLimits(msgspec.Struct, frozen=True):
    """Limits on unacknowledged appends to one peer."""

    messages: int
    size_bytes: int


class Progress:
    """One peer as its leader sees it."""

    __slots__ = (
        "_inflight",
        "_inflight_bytes",
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

    def __init__(self, *, next_index: int, window: InflightLimits, is_learner: bool = False) -> None:
        self.match = 0
        self.next = next_index
        self.state = ProgressState.PROBE
        self.is_learner = is_learner
        self.recent_active = False
        self.probe_sent = False
        self.pending_snapshot = 0
        self.sent_commit = 0
        self._inflight: deque[tuple[int, int]] = deque()
        self._inflight_bytes = 0
        self._window = window

    @property
    def paused(self) -> bool:
        """Whether no append may be sent now."""
        if self.state is ProgressState.REPLICATE:
            return self._full
        return self.state is ProgressState.SNAPSHOT or self.probe_sent

    @property
    def _full(self) -> bool:
        return len(self._inflight) >= self._window.messages or self._inflight_bytes >= self._window.size_bytes

    @property
    def inflight(self) -> int:
        """The number of unacknowledged appends with entries."""
        return len(self._inflight)

    @property
    def inflight_bytes(self) -> int:
        return self._inflight_bytes

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
        self._inflight_bytes = 0

    def record_sent(self, last_index: int, size_bytes: int, commit: int) -> None:
        """An append with entries up to `last_index` was sent; `size_bytes` is 0 if it has none."""
        self.sent_commit = commit
        if self.state is ProgressState.PROBE:
            self.probe_sent = True
        elif size_bytes:
            self.next = last_index + 1
            self._inflight.append((last_index, size_bytes))
            self._inflight_bytes += size_bytes

    def maybe_update(self, index: int) -> bool:
        """The peer has everything up to `index`; returns whether that was news."""
        while self._inflight and self._inflight[0][0] <= index:
            self._inflight_bytes -= self._inflight.popleft()[1]
        news = index > self.match
        if news:
            self.match = index
            self.probe_sent = False
        self.next = max(self.next, index + 1)
        return news

    def free_first_inflight(self) -> None:
        """Lets one append pass a full window, because the oldest one in flight may have been lost."""
        if self._full:
            self._inflight_bytes -= self._inflight.popleft()[1]

    def maybe_decrement(self, rejected: int, hint: int) -> bool:
        """The peer rejected an append after `rejected`; its log may agree up to `hint`. Returns False if the rejection is stale."""
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
