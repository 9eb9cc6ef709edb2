"""Statuses on their way to the managers: the latest of each task, oldest first. Bounded by the number of tasks on the node."""

import asyncio

from agent.worker.model import StatusUpdate
from covey.objects import TaskStatus


class Reporter:
    """An async iterator with one reader; a newer status of a task takes the place of one that waits."""

    def __init__(self) -> None:
        self._waiting: dict[str, TaskStatus] = {}
        self._arrived = asyncio.Event()

    def report(self, task_id: str, status: TaskStatus) -> None:
        self._waiting[task_id] = status
        self._arrived.set()

    def forget(self, task_id: str) -> None:
        """The task is gone: nobody is interested any more."""
        self._waiting.pop(task_id, None)

    def __len__(self) -> int:
        return len(self._waiting)

    def __aiter__(self) -> "Reporter":
        return self

    async def __anext__(self) -> StatusUpdate:
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        task_id = next(iter(self._waiting))
        return StatusUpdate(task_id=task_id, status=self._waiting.pop(task_id))
