"""Planner interface, and a base class for planners that decide per key: dirty keys, timers and bounded passes.

Invariant: the cost of a pass depends on what changed. A planner that is reset from a view makes the same decisions again. Called by
``manager.loop.control_loop``; every method is synchronous and reads no clock.
"""

from __future__ import annotations

import heapq
import logging
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable
from typing import Generic, Protocol, TypeVar

from covey.clock import SECOND
from covey.objects import Object
from manager.loop.plan import Plan, Step
from manager.store.view import View

K = TypeVar("K", bound=Hashable)

MAX_STEPS = 512
"""Maximum number of steps per pass. Larger work is applied in between, so that a loop never blocks the process for long."""
MAX_KEYS = 512
_RETRY_NS = 5 * SECOND

_log = logging.getLogger("covey.loop")


class Planner(Protocol):
    """The decision of a control loop."""

    def reset(self, view: View) -> None:
        """Starts from a snapshot: forgets everything and makes everything dirty."""
        ...

    def observe(self, before: Object | None, after: Object | None) -> None:
        """Takes one change committed after the snapshot, or an object that an own plan touched (``before`` None)."""
        ...

    def plan(self, view: View, now_ns: int) -> Plan:
        """What to do now. A deadline that is not in the future means: apply this and plan again at once."""
        ...


class KeyedPlanner(ABC, Generic[K]):
    """Base class of planners that decide for one key at a time, such as a service's id."""

    def __init__(self) -> None:
        self._dirty: dict[K, None] = {}
        self._wake_times_ns: dict[K, int] = {}
        self._timers: list[tuple[int, int, K]] = []
        self._sequence = 0

    @abstractmethod
    def all_keys(self, view: View) -> Iterable[K]:
        """All keys that may need a decision."""

    @abstractmethod
    def keys_of(self, before: Object | None, after: Object | None) -> Iterable[K]:
        """The keys whose decision a change may affect."""

    @abstractmethod
    def plan_key(self, view: View, key: K, now_ns: int) -> Plan:
        """The decision for one key."""

    def reset(self, view: View) -> None:
        self._wake_times_ns.clear()
        self._timers.clear()
        self._dirty = dict.fromkeys(self.all_keys(view))

    def observe(self, before: Object | None, after: Object | None) -> None:
        for key in self.keys_of(before, after):
            self._dirty[key] = None

    def plan(self, view: View, now_ns: int) -> Plan:
        while self._timers and self._timers[0][0] <= now_ns:
            due_ns, _, key = heapq.heappop(self._timers)
            if self._wake_times_ns.get(key) == due_ns:
                del self._wake_times_ns[key]
                self._dirty[key] = None
        steps: list[Step] = []
        for _ in range(MAX_KEYS):
            if not self._dirty or len(steps) >= MAX_STEPS:
                break
            key = next(iter(self._dirty))
            del self._dirty[key]
            decided = self._plan_key_safely(view, key, now_ns)
            steps += decided.steps
            self._set_timer(key, decided.wake_at_ns)
        next_timer_ns = self._timers[0][0] if self._timers else 0
        return Plan(tuple(steps), now_ns if self._dirty else next_timer_ns)

    def _plan_key_safely(self, view: View, key: K, now_ns: int) -> Plan:
        try:
            return self.plan_key(view, key, now_ns)
        except Exception:  # supervision: an object that cannot be decided on must not block the others
            _log.exception("%s cannot decide on %s; it retries in 5 s", type(self).__name__, key)
            return Plan((), now_ns + _RETRY_NS)

    def _set_timer(self, key: K, at_ns: int) -> None:
        if not at_ns:
            self._wake_times_ns.pop(key, None)
        elif self._wake_times_ns.get(key) != at_ns:
            self._wake_times_ns[key] = at_ns
            self._sequence += 1
            heapq.heappush(self._timers, (at_ns, self._sequence, key))
