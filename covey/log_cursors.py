"""Log cursors: how far a reader of logs has come with each task, so that it goes on elsewhere without lost or repeated lines. Pure.

Invariant: a task's lines keep their order in its log, so its position is the time of the last line and the number of lines with that time.
"""

from __future__ import annotations

from collections.abc import Iterable

from coveypb.v1 import dispatcher_pb2


class LogCursors:
    """The positions of one reader, by task."""

    def __init__(self, cursors: Iterable[dispatcher_pb2.LogCursor] = ()) -> None:
        self._positions = {cursor.task_id: (cursor.time_ns, cursor.lines) for cursor in cursors}

    def advance(self, line: dispatcher_pb2.LogLine) -> None:
        """The reader has this line."""
        time_ns, lines = self._positions.get(line.task_id, (0, 0))
        same = time_ns == line.timestamp_ns
        self._positions[line.task_id] = (line.timestamp_ns, lines + 1 if same else 1)

    def of(self, task_ids: Iterable[str]) -> list[dispatcher_pb2.LogCursor]:
        """The positions of those of the tasks that have one."""
        return [
            dispatcher_pb2.LogCursor(task_id=task_id, time_ns=position[0], lines=position[1])
            for task_id in task_ids
            if (position := self._positions.get(task_id))
        ]

    def all(self) -> list[dispatcher_pb2.LogCursor]:
        """All positions."""
        return self.of(self._positions)

    def __bool__(self) -> bool:
        return bool(self._positions)
