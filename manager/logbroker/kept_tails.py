"""Kept tails: the end of each task's output, in the memory of every manager, for the time when the task's node is gone.

Invariant: at most ``LIMIT_BYTES``; the tails that were not renewed for the longest time go first. A task's tail is replaced as a whole.
Pure. Filled by the sessions of the leader, and on followers by `mirror`; read by the log broker.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterator

import msgspec

from coveypb.v1 import dispatcher_pb2

LIMIT_BYTES = 32 * 1024 * 1024
TAIL_BYTES = 16 * 1024
"""Largest message of one task that is taken; agents send at most 4 KiB of output in 50 lines."""
BATCH_BYTES = 256 * 1024


class _Kept(msgspec.Struct, frozen=True):
    version: int
    size: int
    tail: dispatcher_pb2.LogTail


class KeptTails:
    """One per manager process. ``version`` grows with every tail that is put."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.version = 0
        self._limit_bytes = limit_bytes
        self._size = 0
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._kept

    def put(self, tail: dispatcher_pb2.LogTail) -> None:
        """Replaces the tail of a task. One that is too large is ignored."""
        size = tail.ByteSize()
        if size > TAIL_BYTES:
            return
        self._drop(tail.task_id)
        self.version += 1
        self._kept[tail.task_id] = _Kept(self.version, size, tail)
        self._size += size
        while self._size > self._limit_bytes:
            self._drop(next(iter(self._kept)))

    def retain(self, task_ids: Container[str]) -> None:
        """Forgets the tails of all other tasks."""
        for task_id in [task_id for task_id in self._kept if task_id not in task_ids]:
            self._drop(task_id)

    def lines(self, task_id: str) -> list[dispatcher_pb2.LogLine]:
        """The kept lines of a task, oldest first."""
        kept = self._kept.get(task_id)
        return list(kept.tail.lines) if kept is not None else []

    def since(self, version: int) -> tuple[list[dispatcher_pb2.LogTail], int]:
        """Tails that were put after a version, oldest first and bounded in size, and the version that they lead to."""
        found: list[dispatcher_pb2.LogTail] = []
        size = 0
        for kept in reversed(list(self._newer(version))):
            if found and size + kept.size > BATCH_BYTES:
                break
            found.append(kept.tail)
            size += kept.size
            version = kept.version
        return found, version

    def _newer(self, version: int) -> Iterator[_Kept]:
        for kept in reversed(self._kept.values()):
            if kept.version <= version:
                return
            yield kept

    def _drop(self, task_id: str) -> None:
        kept = self._kept.pop(task_id, None)
        if kept is not None:
            self._size -= kept.size


def wanted_lines(
    lines: list[dispatcher_pb2.LogLine], options: dispatcher_pb2.LogOptions, cursor: dispatcher_pb2.LogCursor | None
) -> list[dispatcher_pb2.LogLine]:
    """The lines of a tail that a reader with these options and this position in the task's log gets."""
    streams = {number for number, wanted in ((1, options.stdout), (2, options.stderr)) if wanted}
    found = [line for line in lines if line.stream in streams]
    if cursor is not None:
        same = [line for line in found if line.timestamp_ns == cursor.time_ns]
        return same[cursor.lines :] + [line for line in found if line.timestamp_ns > cursor.time_ns]
    if options.tail >= 0:
        found = found[max(0, len(found) - options.tail) :]
    until_ns = options.until_ns or float("inf")
    return [line for line in found if options.since_ns <= line.timestamp_ns <= until_ns]
