"""Record of one container in memory: configuration, state, lock, and the tasks and callers that wait for it."""

from __future__ import annotations

import asyncio

from agent.container.model import Container, ContainerConfig, ContainerState
from agent.runtime.attach import AttachStream


class ExitCodeWaiters:
    """Callers that wait for the same exit code."""

    def __init__(self) -> None:
        self._futures: set[asyncio.Future[int]] = set()

    async def wait(self) -> int:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._futures.add(future)
        try:
            return await future
        finally:
            self._futures.discard(future)

    def resolve(self, exit_code: int) -> None:
        """Give the exit code to all who wait now."""
        for future in list(self._futures):
            if not future.done():
                future.set_result(exit_code)
        self._futures.clear()


class ContainerRecord:
    """`lock` guards start, exit and removal. Signals do not take it, so a stop can interrupt a start that hangs.

    `pidfd` is -1 while the process is not watched. `pid_ticks` is the start time of the process, which with its pid
    identifies it after a restart of the daemon.
    """

    __slots__ = (
        "config",
        "exit_waiters",
        "health_task",
        "lock",
        "log_wakeups",
        "pending_attaches",
        "pid_ticks",
        "pidfd",
        "removal_waiters",
        "state",
    )

    def __init__(self, container: Container) -> None:
        self.config: ContainerConfig = container.config
        self.state: ContainerState = container.state
        self.lock = asyncio.Lock()
        self.pidfd = -1
        self.pid_ticks = 0
        self.exit_waiters = ExitCodeWaiters()
        self.removal_waiters = ExitCodeWaiters()
        self.pending_attaches: list[AttachStream] = []
        self.log_wakeups: set[asyncio.Event] = set()
        self.health_task: asyncio.Task[None] | None = None

    def snapshot(self) -> Container:
        return Container(self.config, self.state)

    def wake_log_readers(self) -> None:
        for event in self.log_wakeups:
            event.set()

    def disconnect_pending_attaches(self) -> None:
        """End the attach streams that wait for a start."""
        for stream in self.pending_attaches:
            stream.set_socket(None)
        self.pending_attaches.clear()

    async def wait_for_exit(self) -> int:
        """The exit code, at once if the container does not run."""
        return await self.exit_waiters.wait() if self.state.running else self.state.exit_code
