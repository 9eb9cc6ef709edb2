"""One container as the service holds it in memory: its snapshot, and who waits for what. It decides nothing."""

from __future__ import annotations

import asyncio

from agent.container.model import Container, ContainerConfig, ContainerState
from agent.runtime.streams import AttachStream


class Held:
    """`lock` guards starts, ends and removals; stopping and killing do not take it, so they can interrupt nothing."""

    __slots__ = (
        "config",
        "ended",
        "health_tasks",
        "lock",
        "pending",
        "pid_ticks",
        "pidfd",
        "removed",
        "state",
        "wakers",
    )

    def __init__(self, container: Container) -> None:
        self.config: ContainerConfig = container.config
        self.state: ContainerState = container.state
        self.lock = asyncio.Lock()
        self.pidfd = -1
        self.pid_ticks = 0
        self.ended: set[asyncio.Future[int]] = set()
        self.removed: set[asyncio.Future[int]] = set()
        self.pending: list[AttachStream] = []
        self.wakers: set[asyncio.Event] = set()
        self.health_tasks: list[asyncio.Task[None]] = []

    def snapshot(self) -> Container:
        return Container(self.config, self.state)

    def wake_readers(self) -> None:
        for event in self.wakers:
            event.set()

    @staticmethod
    async def wait_in(waiters: set[asyncio.Future[int]]) -> int:
        """Wait among those who want to know; the number they are told."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waiters.add(future)
        try:
            return await future
        finally:
            waiters.discard(future)

    @staticmethod
    def settle(waiters: set[asyncio.Future[int]], code: int) -> None:
        for future in list(waiters):
            if not future.done():
                future.set_result(code)
        waiters.clear()
