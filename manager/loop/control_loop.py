"""Control loop around a planner: snapshot, plan, apply, then wait for the next commit or the plan's deadline.

Invariant: level-triggered. A loop can restart from a snapshot at any moment and lose nothing, so it answers every failure with a backoff
and a fresh snapshot. A loop ends only by cancellation. Run by ``manager.leader``.
"""

from __future__ import annotations

import asyncio
import logging

from covey.clock import SECOND, Clock, wall_clock
from covey.errors import DeadlineError, LaggedError, UnavailableError
from covey.objects import Author, Config, Secret, Struct, WatchedStack
from manager.loop.plan import Plan
from manager.loop.planner import Planner
from manager.store.author import acting_as
from manager.store.commit import Commit
from manager.store.store import Store
from manager.store.watch import Watch

_FIRST_BACKOFF_SECONDS = 0.05
_MAX_BACKOFF_SECONDS = 5.0
_MAX_WAIT_SECONDS = 30.0
"""Longest wait without a deadline from the plan. The loop then plans again, which costs nothing if nothing is dirty."""


_IGNORED: frozenset[type[Struct]] = frozenset({Secret, Config, WatchedStack})
"""No planner decides on these, and waking every loop for each of them made their writes slower."""


class ControlLoop:
    """Runs one planner on one store."""

    def __init__(self, name: str, store: Store, planner: Planner, clock: Clock = wall_clock) -> None:
        self._log = logging.getLogger(f"covey.loop.{name}")
        self._name = name
        self._store = store
        self._planner = planner
        self._clock = clock
        self._backoff_seconds = _FIRST_BACKOFF_SECONDS

    async def run(self) -> None:
        """Runs until cancelled. Its changes have the loop as their author."""
        with acting_as(Author(component=self._name)):
            await self._run()

    async def _run(self) -> None:
        while True:
            try:
                await self._run_from_snapshot()
            except LaggedError as error:
                self._log.info("%s restarts from a snapshot: %s", self._name, error)
            except (DeadlineError, UnavailableError) as error:
                self._log.info("%s retries: %s", self._name, error)
            except Exception:  # supervision: a bug in a planner must be visible and must not stop the control loop
                self._log.exception(
                    "%s failed and restarts from a snapshot in %.2f s", self._name, self._backoff_seconds
                )
            await asyncio.sleep(self._backoff_seconds)
            self._backoff_seconds = min(self._backoff_seconds * 2, _MAX_BACKOFF_SECONDS)

    async def _run_from_snapshot(self) -> None:
        with self._store.watch(ignored=_IGNORED) as (view, commits):
            self._planner.reset(view)
            while True:
                plan = self._planner.plan(self._store.view(), self._clock())
                await self._apply(plan)
                self._backoff_seconds = _FIRST_BACKOFF_SECONDS
                await self._wait(commits, plan.wake_at_ns, done=not plan.steps)

    async def _apply(self, plan: Plan) -> None:
        if not plan.steps:
            return
        refused = await self._store.batch(plan.steps)
        for refusal in refused:
            self._log.debug("%s replans a refused step: %s", self._name, refusal.error)
        for step in plan.steps:  # applied or refused: the planner must know before the commits arrive
            for item in step.items():
                self._planner.observe(None, item)

    async def _wait(self, commits: Watch, wake_at_ns: int, *, done: bool) -> None:
        """Takes all commits that have arrived; waits for one only if the last plan was empty."""
        await asyncio.sleep(0)  # a busy loop still lets the others run
        if not commits.ready and done:
            seconds = _MAX_WAIT_SECONDS
            if wake_at_ns:
                seconds = min(seconds, (wake_at_ns - self._clock()) / SECOND)
            try:
                async with asyncio.timeout(max(seconds, 0)):
                    self._observe(await anext(commits))
            except TimeoutError:
                return
        while commits.ready:
            self._observe(await anext(commits))

    def _observe(self, commit: Commit) -> None:
        for change in commit.changes:
            self._planner.observe(change.before, change.after)
