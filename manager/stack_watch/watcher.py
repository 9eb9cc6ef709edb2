"""The watcher of stacks: a background task of the leader. It asks repositories when they are due and deploys what changed.

Invariant: it starts from the store alone and writes only what it found while it led. A visit whose stack is removed or gets another spec is
cancelled, and its processes end.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from covey.clock import Clock, wall_clock
from covey.errors import CoveyError
from covey.objects import WatchedStack, WatchedStackSpec, WatchStatus, replace
from covey.task_group import TaskGroup
from manager.stack_watch import plan
from manager.store import NotLeaderError, Store, Tx

PERIOD_SECONDS = 0.5
STOP_SECONDS = 5.0
MAX_CHECKS = 8
MAX_DEPLOYMENTS = 2

Check = Callable[[WatchedStackSpec], Awaitable[str]]
"""The newest commit of a stack's repository; raises CoveyError."""
Deploy = Callable[[WatchedStackSpec], Awaitable[str]]
"""Deploys a stack and returns the commit; raises CoveyError."""

log = logging.getLogger("covey.stack_watch")


class StackWatcher:
    """Looks twice a second which stacks are due. Level-triggered."""

    def __init__(
        self,
        store: Store,
        check: Check,
        deploy: Deploy,
        *,
        clock: Clock = wall_clock,
        period_seconds: float = PERIOD_SECONDS,
    ) -> None:
        self._store = store
        self._check = check
        self._deploy = deploy
        self._clock = clock
        self._period_seconds = period_seconds
        self._visits: dict[str, tuple[WatchedStackSpec, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Watches until cancelled."""
        checks, deployments = asyncio.Semaphore(MAX_CHECKS), asyncio.Semaphore(MAX_DEPLOYMENTS)
        visits = self._visits
        visits.clear()
        async with TaskGroup() as group:
            while True:
                stacks = self._store.view().watched_stacks
                for stack_id, (spec, visit) in list(visits.items()):
                    current = stacks.get(stack_id)
                    if current is None or current.spec != spec:
                        visit.cancel()
                    if visit.done():
                        del visits[stack_id]
                now_ns = self._clock()
                for stack in stacks:
                    if stack.id not in visits and plan.is_due(stack, now_ns):
                        visit = group.create_task(self._visit(stack, checks, deployments))
                        visits[stack.id] = (stack.spec, visit)
                await asyncio.sleep(self._period_seconds)

    async def stop(self, stack_id: str) -> None:
        """Wait until nothing is deployed any more for a stack that was removed."""
        if stack_id in self._visits:
            _, visit = self._visits[stack_id]
            visit.cancel()
            await asyncio.wait({visit}, timeout=STOP_SECONDS)

    async def _visit(self, stack: WatchedStack, checks: asyncio.Semaphore, deployments: asyncio.Semaphore) -> None:
        try:
            async with checks:
                commit = await self._newest_commit(stack)
            if commit and await self._begin(stack, commit):
                async with deployments:
                    await self._deploy_and_record(stack)
        except NotLeaderError:
            return  # the next leader goes on
        except CoveyError as error:  # the store did not take the write; the stack stays due
            log.warning("watched stack %s: %s", stack.spec.annotations.name, error)

    async def _newest_commit(self, stack: WatchedStack) -> str:
        """The newest commit, or an empty string if the repository does not answer; that is recorded."""
        try:
            return await self._check(stack.spec)
        except CoveyError as error:
            reason, now_ns = str(error), self._clock()
            await self._write(stack, lambda _, current: plan.after_failed_check(current, reason, now_ns))
            return ""

    async def _begin(self, stack: WatchedStack, commit: str) -> bool:
        """Record a check, and that a deployment begins if it does. Both are one write, so that a new leader sees either."""
        now_ns, decision = self._clock(), False

        def decide(_: Tx, current: WatchedStack) -> WatchStatus:
            nonlocal decision
            status, decision = plan.after_check(current, commit, now_ns)
            return plan.begun(status, commit, now_ns) if decision else status

        return await self._write(stack, decide) and decision

    async def _deploy_and_record(self, stack: WatchedStack) -> None:
        name, interval_ns = stack.spec.annotations.name, stack.spec.interval_ns
        request = stack.request
        try:
            commit = await self._deploy(stack.spec)
        except CoveyError as error:
            reason, now_ns = str(error), self._clock()
            log.warning("watched stack %s was not deployed: %s", name, reason)
            await self._write(
                stack, lambda _, current: plan.failed(current.status, reason, request, interval_ns, now_ns)
            )
            return
        log.info("watched stack %s: commit %s is deployed", name, commit)
        now_ns = self._clock()
        await self._write(
            stack,
            lambda tx, current: plan.deployed(current.status, commit, request, plan.spec_digests(tx, name), now_ns),
        )

    async def _write(self, stack: WatchedStack, status: Callable[[Tx, WatchedStack], WatchStatus]) -> bool:
        """Write a status; False if the stack was removed or has another spec meanwhile."""

        def apply(tx: Tx) -> bool:
            current = tx.watched_stacks.get(stack.id)
            if current is None or current.spec != stack.spec:
                return False
            tx.update(replace(current, status=status(tx, current)))
            return True

        return await self._store.update(apply)
