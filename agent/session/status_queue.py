"""Status queue: the latest status of each task that the leader has not acknowledged yet.

Invariant: bounded by the number of tasks. A newer status of a task replaces a waiting one, and an acknowledgement removes only what was
sent.
"""

import asyncio

from covey.objects import TaskStatus

MAX_BATCH = 256


class StatusQueue:
    """Outlives the streams: what one stream could not settle the next one sends."""

    def __init__(self) -> None:
        self._waiting: dict[str, TaskStatus] = {}
        self._wake = asyncio.Event()

    def put(self, task_id: str, status: TaskStatus) -> None:
        self._waiting.pop(task_id, None)
        self._waiting[task_id] = status
        self._wake.set()

    async def wait(self) -> None:
        """Until something waits."""
        while not self._waiting:
            self._wake.clear()
            await self._wake.wait()

    def batch(self) -> dict[str, TaskStatus]:
        """The oldest that wait, at most 256."""
        return dict(list(self._waiting.items())[:MAX_BATCH])

    def acknowledge(self, sent: dict[str, TaskStatus]) -> None:
        """What was sent is in the store; a status that came since stays."""
        for task_id, status in sent.items():
            if self._waiting.get(task_id) is status:
                del self._waiting[task_id]

    def __len__(self) -> int:
        return len(self._waiting)
