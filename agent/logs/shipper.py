"""Log shipper: sends a container's log from its files to a sink, from the position where the daemon stopped last.

Invariant: conmon writes the files whether the daemon and the sink are there or not; a position is stored only once what is
before it was sent. So a restart of either loses nothing, and a crash sends the last second again. What the sink does not
take while rotation passes over the files is lost, which bounds the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from agent.logs import files
from agent.logs.entry import LogEntry
from agent.logs.k8s_file import PartialLineJoiner
from agent.logs.reader import BLOCK_BYTES, FollowSignals
from agent.logs.sinks import LogSink

_log = logging.getLogger(__name__)

POSITION_FILE = "shipped.json"
_SAVE_SECONDS = 1.0
_RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Position(msgspec.Struct, frozen=True):
    """Everything before `offset` of the file that begins with the line of `first_time` was sent."""

    first_time: str = ""
    offset: int = 0


class Batch(NamedTuple):
    """Entries, and the offset behind the last line that belongs to no unfinished entry."""

    entries: list[LogEntry]
    safe_offset: int


class BatchReader:
    """Reads batches from one file after the other. Entries whose pieces are in two files are joined."""

    def __init__(self) -> None:
        self._joiner = PartialLineJoiner()
        self._safe = 0

    def begin_file(self) -> None:
        self._safe = 0

    def parse(self, data: bytes, offset: int) -> Batch:
        """The entries of complete lines that begin at `offset`."""
        entries = []
        for line in data.split(b"\n")[:-1]:
            offset += len(line) + 1
            entry = self._joiner.feed(line)
            if entry is not None:
                entries.append(entry)
            if not self._joiner.unfinished:
                self._safe = offset
        return Batch(entries, self._safe)

    def rest(self) -> list[LogEntry]:
        """Unfinished entries, once the container has ended."""
        return self._joiner.flush()


class LogShipper:
    """Ships one log. `run` ends when `signals.ended` says so and everything was sent."""

    def __init__(self, path: Path, sink: LogSink, signals: FollowSignals, *, buffer_bytes: int = 0) -> None:
        self._path, self._sink, self._signals = path, sink, signals
        self._buffer_bytes = buffer_bytes
        self._position_path = path.with_name(POSITION_FILE)
        self._reader = BatchReader()
        self._saved_at = 0.0
        self._fd: int | None = None
        self._offset = self._safe_offset = 0

    async def run(self) -> None:
        try:
            await asyncio.to_thread(self._open_first)
            while True:
                ended = self._signals.ended()
                self._signals.changed.clear()
                await self._ship_to_end()
                if await asyncio.to_thread(self._open_next):
                    continue
                if ended:
                    await self._send(self._reader.rest())
                    return
                await self._signals.changed.wait()
        finally:
            self._save()
            self._sink.close()
            if self._fd is not None:
                os.close(self._fd)

    async def _ship_to_end(self) -> None:
        """Send what the open file has now."""
        while self._fd is not None:
            data = await asyncio.to_thread(os.pread, self._fd, BLOCK_BYTES, self._offset)
            whole = data[: data.rfind(b"\n") + 1]
            if not whole:
                return
            batch = self._reader.parse(whole, self._offset)
            if not await self._send(batch.entries):
                continue  # entries were dropped, and the offset moved on
            self._offset += len(whole)
            self._safe_offset = batch.safe_offset
            if time.monotonic() - self._saved_at > _SAVE_SECONDS:
                self._save()

    async def _send(self, entries: list[LogEntry]) -> bool:
        """Send entries, however long that takes. Returns whether they were sent; not if the bound dropped them."""
        if not entries:
            return True
        for attempt in range(1 << 30):
            try:
                await self._sink.send(entries)
            except (OSError, TimeoutError) as error:
                self._sink.close()
                if attempt == 0:
                    _log.warning("the log %s waits for its log driver: %s", self._path.parent.name[:12], error)
                if self._drop_over_bound():
                    return False
                await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
            else:
                return True
        return False

    def _drop_over_bound(self) -> bool:
        """Skip what is more than the bound behind the end of the file. Returns whether there was any."""
        if not self._buffer_bytes or self._fd is None:
            return False
        size = os.fstat(self._fd).st_size
        target = size - self._buffer_bytes
        if target <= self._offset:
            return False
        line_end = os.pread(self._fd, BLOCK_BYTES, target).find(b"\n")
        _log.warning("dropped %d bytes of the log %s", target - self._offset, self._path.parent.name[:12])
        self._offset = self._safe_offset = target + line_end + 1
        return True

    def _open_first(self) -> None:
        """Open the file of the stored position, or the first one after it."""
        position = self._load()
        opened = files.open_files(self._path)
        try:
            for index, fd in enumerate(opened):
                first = files.first_time(fd).decode(errors="replace")
                if first >= position.first_time:
                    self._fd = opened.pop(index)
                    self._offset = self._safe_offset = position.offset if first == position.first_time else 0
                    return
        finally:
            files.close_files(opened)

    def _open_next(self) -> bool:
        """Go to the file that follows the open one, if it is complete. Returns whether there is one."""
        if self._fd is not None and files.is_current(self._path, self._fd):
            return False
        fresh = files.open_newer(self._path, self._fd)
        if fresh is None:
            return False
        if self._fd is not None:
            if os.pread(self._fd, 1, self._offset):  # written between the last read and the rotation
                os.close(fresh)
                return True
            os.close(self._fd)
        self._fd, self._offset, self._safe_offset = fresh, 0, 0
        self._reader.begin_file()
        return True

    def _load(self) -> Position:
        try:
            return msgspec.json.decode(self._position_path.read_bytes(), type=Position)
        except (OSError, msgspec.DecodeError):
            return Position()

    def _save(self) -> None:
        """Store the position. A container that was removed meanwhile has nowhere to store it."""
        self._saved_at = time.monotonic()
        if self._fd is None:
            return
        position = Position(files.first_time(self._fd).decode(errors="replace"), self._safe_offset)
        partial = self._position_path.with_suffix(".new")
        with contextlib.suppress(OSError):
            partial.write_bytes(msgspec.json.encode(position))
            partial.rename(self._position_path)
