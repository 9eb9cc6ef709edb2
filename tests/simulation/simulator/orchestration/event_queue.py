"""Events of a simulation in the order of their times, which is the only clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Event = Callable[[], None]


class EventQueue:
    """Times are in nanoseconds. Events at the same time run in the order in which they were added."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self._events: list[tuple[int, int, Event]] = []
        self._added = 0

    def after(self, delay_ns: float, event: Event) -> None:
        """Runs the event so much later."""
        self._added += 1
        heapq.heappush(self._events, (self.now_ns + int(delay_ns), self._added, event))

    def run_until(self, at_ns: int) -> int:
        """Runs everything that is due until then, sets the clock to it, and returns how many events ran."""
        ran = 0
        while self._events and self._events[0][0] <= at_ns:
            self.now_ns, _, event = heapq.heappop(self._events)
            event()
            ran += 1
        self.now_ns = at_ns
        return ran
