"""Status queue: the latest status of each task that the leader has not acknowledged yet.

Invariant: bounded by the number of tasks. A newer status of a task replaces a waiting one, and an acknowledgement removes only what was
sent. Filled by ``agent.worker``, read by the session stream; it outlives streams, so the next stream sends what the last one could not.
"""

import asyncio

from covey.objects import TaskStatus

MAX_BATCH = 256


class StatusQueue:
    """One per worker, with one reader."""

    def __init__(self) -> None:
        self._waiting: dict[str, TaskStatus] = {}
        self._wake = asyncio.Event()

    def put(self, task_id: str, status: TaskStatus) -> None:
        """Adds the newest status of a task."""
        self._waiting.pop(task_id, None)
        self._waiting[task_id] = status
        self._wake.set()

    def forget(self, task_id: str) -> None:
        """Drops the status of a task that is gone from this node."""
        self._waiting.pop(task_id, None)

    async def wait(self) -> None:
        """Waits until a status is in the queue."""
        while not self._waiting:
            self._wake.clear()
            await self._wake.wait()

    def batch(self) -> dict[str, TaskStatus]:
        """The oldest statuses, at most ``MAX_BATCH``."""
        return dict(list(self._waiting.items())[:MAX_BATCH])

    def acknowledge(self, sent: dict[str, TaskStatus]) -> None:
        """Removes statuses that are in the store. A newer status of the same task stays."""
        for task_id, status in sent.items():
            if self._waiting.get(task_id) is status:
                del self._waiting[task_id]

    def __len__(self) -> int:
        return len(self._waiting)
