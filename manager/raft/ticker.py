"""Clock ticks of a Raft node, with a guard against stalls of the process or of its disk.

Invariant: after a pause only a few missed ticks are made up, so that a stalled node does not mistake its own pause for a
dead leader. A pause as long as a follower waits before it campaigns is reported, because another manager may have
been elected meanwhile. Called by the driver.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from covey.clock import boot_time

TICK_SECONDS = 0.1
_MAX_TICKS = 2
"""Maximum number of ticks that are delivered at once."""
_STALL_FACTOR = 1.5
"""Times the shortest election timeout. Followers wait between one and two times that long, so one of them has likely campaigned by then."""


class Ticker:
    """Collects the ticks that are due. Used on one event loop."""

    def __init__(self, election_tick: int, *, now: Callable[[], float] | None = None) -> None:
        """``now`` replaces the clock of the seconds since boot."""
        self._now = now or boot_time
        self._stall_seconds = _STALL_FACTOR * election_tick * TICK_SECONDS
        self._due = 0
        self._last_tick_at = self._now()
        self._write_began_at: float | None = None

    async def run(self, on_tick: Callable[[str], None]) -> None:
        """Calls ``on_tick`` in each period, with the description of a stall or an empty string. Runs until cancelled."""
        self._last_tick_at = self._now()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            on_tick(self.tick(self._now()))

    def tick(self, now: float) -> str:
        """Counts one period that ended at ``now``; returns the description of a stall, or an empty string."""
        pause = self.take_pause(now)
        self._last_tick_at = now
        self._due = min(self._due + 1, _MAX_TICKS)
        if pause:
            return pause
        if self._write_began_at is not None and now - self._write_began_at > self._stall_seconds:
            return f"its disk has not completed a write for {now - self._write_began_at:.1f} s"
        return ""

    def take_pause(self, now: float | None = None) -> str:
        """The description of a pause of the process up to ``now``, or an empty string. A pause is reported once, by this or by a tick."""
        now = self._now() if now is None else now
        paused_seconds = now - self._last_tick_at
        if paused_seconds <= self._stall_seconds:
            return ""
        self._last_tick_at = now
        return f"it was paused for {paused_seconds:.1f} s"

    def take_due(self) -> int:
        """The number of ticks to deliver now."""
        due, self._due = self._due, 0
        return due

    def write_began(self) -> None:
        """A write to disk has started."""
        self._write_began_at = self._now()

    def write_ended(self) -> None:
        """The write is durable."""
        self._write_began_at = None

    @property
    def is_writing(self) -> bool:
        """Whether a write has not reached the disk yet."""
        return self._write_began_at is not None
