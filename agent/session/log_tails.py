"""Log tails: sends the end of each task's log to the leader, which keeps it for the time when this node is gone.

Invariant: at most ``TAIL_BYTES`` of a task, ``TASKS_PER_ROUND`` tasks in a round, and each task once in ``PAUSE_SECONDS``.
A log that did not grow costs one stat a round. A new stream begins with all tails, because the leader may be another.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Hashable, Mapping

from agent.session.interfaces import TaskLogOptions, WorkerPort
from agent.session.log_publisher import log_line
from covey.errors import CoveyError
from coveypb.v1 import dispatcher_pb2

TAIL_LINES = 50
TAIL_BYTES = 4096
TASKS_PER_ROUND = 16
ROUND_SECONDS = 1.0
PAUSE_SECONDS = 5.0

Marks = Mapping[str, Hashable]


class LogTails:
    """The tails of one stream. ``marks`` of a task change when its log grows."""

    def __init__(self, worker: WorkerPort) -> None:
        self._worker = worker
        self._sent: dict[str, tuple[Hashable, float]] = {}

    async def run(self, send: Callable[[dispatcher_pb2.LogTails], Awaitable[None]]) -> None:
        """Sends until cancelled."""
        while True:
            marks = self._worker.log_marks()
            now = asyncio.get_running_loop().time()
            self._sent = {task_id: sent for task_id, sent in self._sent.items() if task_id in marks}
            message = dispatcher_pb2.LogTails()
            for task_id in due_tasks(marks, self._sent, now):
                message.tails.append(await self._read(task_id))
                self._sent[task_id] = (marks[task_id], now)
            if message.tails:
                await send(message)
            await asyncio.sleep(ROUND_SECONDS)

    async def _read(self, task_id: str) -> dispatcher_pb2.LogTail:
        lines: list[dispatcher_pb2.LogLine] = []
        with contextlib.suppress(CoveyError, OSError):  # the task or its log may be gone
            entries = self._worker.task_logs(task_id, TaskLogOptions(tail=TAIL_LINES))
            lines = [log_line(task_id, entry) async for entry in entries]
        return dispatcher_pb2.LogTail(task_id=task_id, lines=newest_lines(lines, TAIL_BYTES))


def due_tasks(marks: Marks, sent: Mapping[str, tuple[Hashable, float]], now: float) -> list[str]:
    """The tasks whose tail is sent in this round: their log has grown, and the last time is long ago. The longest ago come first."""
    never = (None, float("-inf"))
    due = [
        (sent.get(task_id, never)[1], task_id)
        for task_id, mark in marks.items()
        if sent.get(task_id, never)[0] != mark and now - sent.get(task_id, never)[1] >= PAUSE_SECONDS
    ]
    return [task_id for _, task_id in sorted(due)[:TASKS_PER_ROUND]]


def newest_lines(lines: list[dispatcher_pb2.LogLine], limit_bytes: int) -> list[dispatcher_pb2.LogLine]:
    """As many of the last lines as fit. Of a longer last line only the end is kept."""
    size, kept = 0, list[dispatcher_pb2.LogLine]()
    for line in reversed(lines):
        size += len(line.data)
        if size > limit_bytes and kept:
            break
        kept.append(line)
    kept.reverse()
    if len(kept) == 1:
        kept[0].data = kept[0].data[-limit_bytes:]
    return kept
