"""Layers of one fetch, unpacked by a few processes at once while they are downloaded.

Processes take the layers bottom first. A layer that needs the files of the layers below waits for them in its process.

Invariant: the lowest unfinished layer never waits for another, so the layers always come to an end.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.image.registry.layer_process import LayerProcess, layer_process
from agent.image.registry.layer_protocol import LayerTask
from covey.task_group import TaskGroup

MAX_PROCESSES = 3
SMALL_BYTES = 4 << 20


class LayerPool:
    """`on_read` gets the number of a layer and how many of its compressed bytes were unpacked, `on_unpacked` its content's size."""

    def __init__(
        self,
        tasks: Sequence[LayerTask],
        folder: Path,
        on_read: Callable[[int, int], None],
        on_unpacked: Callable[[int, int], None],
    ) -> None:
        self._folder = folder
        self._on_read = on_read
        self._on_unpacked = on_unpacked
        self._waiting = deque(tasks)
        self._process_of: dict[int, LayerProcess] = {}
        self._readable: dict[int, int] = {}
        self._unfinished = [task.number for task in tasks]

    def readable(self, number: int, size: int) -> None:
        """The first `size` bytes of the layer's blob can be read."""
        self._readable[number] = size
        if number in self._process_of:
            self._process_of[number].readable(number, size)

    async def run(self) -> None:
        """Unpack all layers, and write them to the disk. Raises the CoveyError of the first that fails."""
        async with TaskGroup() as group:
            for _ in range(process_count([task.blob_bytes for task in self._waiting])):
                group.create_task(self._run_process())

    async def _run_process(self) -> None:
        async with layer_process(self._on_read) as process:
            while self._waiting:
                task = self._waiting.popleft()
                self._process_of[task.number] = process
                process.add(task)
                process.readable(task.number, self._readable.get(task.number, 0))
                if task.number == min(self._unfinished):
                    process.lowers_unpacked(task.number)
                content_bytes = await process.unpacked(task.number)
                del self._process_of[task.number]
                self._finish(task.number, content_bytes)
            await process.sync(self._folder)

    def _finish(self, number: int, content_bytes: int) -> None:
        self._unfinished.remove(number)
        self._on_unpacked(number, content_bytes)
        lowest = min(self._unfinished, default=-1)
        if lowest in self._process_of:
            self._process_of[lowest].lowers_unpacked(lowest)


def process_count(blob_bytes: Sequence[int]) -> int:
    """How many processes are worth their start: one, and one more for each further layer that is not small."""
    large = sum(1 for size in blob_bytes if size > SMALL_BYTES)
    return max(1, min(large, MAX_PROCESSES, max(os.cpu_count() or 1, 2)))
