"""Record of one container in memory: configuration, state, lock, and the tasks and callers that wait for it."""

from __future__ import annotations

import asyncio

from agent.container.model import Container, ContainerConfig, ContainerState
from agent.runtime.attach import AttachStream


class ExitCodeWaiters:
    """Callers that wait for the same exit code."""

    def __init__(self) -> None:
        self._futures: set[asyncio.Future[int]] = set()

    def future(self) -> asyncio.Future[int]:
        """A future of the exit code. Cancel it to stop waiting."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    async def wait(self) -> int:
        return await self.future()

    def resolve(self, exit_code: int) -> None:
        """Give the exit code to all who wait now."""
        for future in list(self._futures):
            if not future.done():
                future.set_result(exit_code)
        self._futures.clear()


class ContainerRecord:
    """`lock` guards start, exit and removal. Signals do not take it, so a stop can interrupt a start that hangs.

    `pidfd` is -1 while the process is not watched. `pid_ticks` is the start time of the process, which with its pid
    identifies it after a restart of the daemon. `stop_requested` says that the next exit is final, whatever the restart
    policy says; a start by a user clears it. `restart_delay_seconds` is the delay before the present run, 0 if a user
    started it. `keep_after_exit` defers `--rm` while the container is restarted.
    """

    __slots__ = (
        "config",
        "exit_waiters",
        "health_task",
        "keep_after_exit",
        "lock",
        "log_wakeups",
        "pending_attaches",
        "pid_ticks",
        "pidfd",
        "removal_waiters",
        "removing",
        "restart_delay_seconds",
        "restart_task",
        "state",
        "stop_requested",
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
        self.stop_requested = False
        self.removing = False
        self.keep_after_exit = False
        self.restart_delay_seconds = 0.0
        self.restart_task: asyncio.Task[None] | None = None

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
        """The exit code, at once if the container does not run and is not about to be restarted."""
        return await self.exit_waiters.wait() if self.state.active else self.state.exit_code
