"""One container as the service holds it in memory: its snapshot, and who waits for what. It decides nothing."""

from __future__ import annotations

import asyncio

from agent.container.model import Container, ContainerConfig, ContainerState
from agent.runtime.attach import AttachStream


class ContainerRecord:
    """`lock` guards starts, ends and removals; stopping and killing do not take it, so they can interrupt nothing."""

    __slots__ = (
        "config",
        "exit_waiters",
        "health_tasks",
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
        self.exit_waiters: set[asyncio.Future[int]] = set()
        self.removal_waiters: set[asyncio.Future[int]] = set()
        self.pending_attaches: list[AttachStream] = []
        self.log_wakeups: set[asyncio.Event] = set()
        self.health_tasks: list[asyncio.Task[None]] = []

    def snapshot(self) -> Container:
        return Container(self.config, self.state)

    def wake_log_readers(self) -> None:
        for event in self.log_wakeups:
            event.set()

    @staticmethod
    async def wait_for(waiters: set[asyncio.Future[int]]) -> int:
        """Wait among those who want to know; the number they are told."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waiters.add(future)
        try:
            return await future
        finally:
            waiters.discard(future)

    @staticmethod
    def resolve_waiters(waiters: set[asyncio.Future[int]], code: int) -> None:
        for future in list(waiters):
            if not future.done():
                future.set_result(code)
        waiters.clear()
