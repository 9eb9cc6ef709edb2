"""Restarts by policy: starts containers again after their exit, and with the daemon.

`agent.container.restart_policy` decides; this waits and starts. Invariant: a container that waits for its restart has the
status RESTARTING, and who waits for its exit goes on waiting. Called by `agent.container.exit_watcher`, by the commands that
stop a container, and once by `ContainerService.start_by_policy`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from agent.background_tasks import BackgroundTasks
from agent.container import restart_policy
from agent.container.index import ContainerIndex
from agent.container.model import RunStatus
from agent.container.record import ContainerRecord
from covey.errors import CoveyError, UnavailableError

_log = logging.getLogger(__name__)
_CONCURRENT_STARTS = 8


class Restarts:
    """`start` starts a container; its second argument says whether the start counts as a restart."""

    def __init__(
        self, index: ContainerIndex, tasks: BackgroundTasks, start: Callable[[ContainerRecord, bool], Awaitable[None]]
    ) -> None:
        self._index = index
        self._tasks = tasks
        self._start = start
        self._start_slots = asyncio.Semaphore(_CONCURRENT_STARTS)

    def schedule(self, record: ContainerRecord, delay_seconds: float) -> None:
        """Start the container, whose status is RESTARTING, after the delay."""
        record.restart_delay_seconds = delay_seconds
        work = self._start_after(record, delay_seconds)
        record.restart_task = self._tasks.spawn(work, f"restart of {record.config.id[:12]}")

    async def cancel(self, record: ContainerRecord) -> None:
        """Give up a restart that waits or has begun. Afterwards the container is exited, or it has begun to run."""
        task, record.restart_task = record.restart_task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        self._settle(record)

    async def start_with_daemon(self) -> None:
        """Start the containers whose policy says so. A start that this host cannot carry out yet is tried again."""
        for record in self._index.list():
            if restart_policy.starts_with_daemon(record.config.restart, record.state):
                self._set_status(record, RunStatus.RESTARTING)
                self.schedule(record, 0)
            else:
                self._settle(record)

    async def _start_after(self, record: ContainerRecord, delay_seconds: float) -> None:
        """A start with the daemon, which has no delay, begins the count of restarts anew."""
        counts = delay_seconds > 0
        while True:
            await asyncio.sleep(delay_seconds)
            if record.state.status is not RunStatus.RESTARTING:
                return
            try:
                async with self._start_slots:
                    await self._start(record, counts)
            except UnavailableError as error:
                delay_seconds = min(
                    max(2 * delay_seconds, restart_policy.FIRST_DELAY_SECONDS), restart_policy.MAX_DELAY_SECONDS
                )
                _log.warning("container %s: starting again in %.1f s: %s", record.config.name, delay_seconds, error)
                self._set_status(record, RunStatus.RESTARTING)
            except CoveyError as error:
                _log.warning("container %s was not restarted: %s", record.config.name, error)
                self._settle(record)
                return
            else:
                return

    def _settle(self, record: ContainerRecord) -> None:
        """Call a container that will not be restarted exited, and tell who waits."""
        if record.state.status is RunStatus.RESTARTING:
            self._set_status(record, RunStatus.EXITED)
        if not record.state.active:
            record.exit_waiters.resolve(record.state.exit_code)
            record.wake_log_readers()

    def _set_status(self, record: ContainerRecord, status: RunStatus) -> None:
        self._index.set_state(record, msgspec.structs.replace(record.state, status=status))
