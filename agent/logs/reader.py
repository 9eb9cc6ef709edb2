"""Reading a container's log: the older file, then the current one; from the end; and as it grows.

Law: reads in pieces of 64 KiB and gives the loop a turn between them; a follower waits for the kernel's word, it
does not poll. The
caller passes `changed`, set whenever the folder of the log changes or the container ends, and `ended`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

from agent.container.model import LogEntry
from agent.logs.k8s_file import Joiner

CHUNK_BYTES = 64 << 10
_LINE_LIMIT_BYTES = 1 << 20


class Wanted(NamedTuple):
    """Which entries a reader asked for; `tail` None means all, times of 0 mean no bound."""

    tail: int | None = None
    since_ns: int = 0
    until_ns: int = 0
    stdout: bool = True
    stderr: bool = True

    def takes(self, entry: LogEntry) -> bool:
        if not (self.stdout if entry.stream == "stdout" else self.stderr):
            return False
        return entry.time_ns >= self.since_ns


class Follow(NamedTuple):
    changed: asyncio.Event
    ended: Callable[[], bool]


def older(path: Path) -> Path:
    """Where the file goes when it is rotated."""
    return path.with_name(path.name + ".1")


async def read(path: Path, wanted: Wanted, follow: Follow | None = None) -> AsyncGenerator[LogEntry, None]:
    """Entries in the order they were written; a missing log is an empty one."""
    joiner = Joiner()
    async with contextlib.aclosing(_lines(path, wanted, follow)) as lines:
        async for line in lines:
            entry = joiner.feed(line)
            if entry is None:
                continue
            if wanted.until_ns and entry.time_ns > wanted.until_ns:
                return
            if wanted.takes(entry):
                yield entry
    for entry in joiner.flush():
        if wanted.takes(entry) and not (wanted.until_ns and entry.time_ns > wanted.until_ns):
            yield entry


async def _lines(path: Path, wanted: Wanted, follow: Follow | None) -> AsyncGenerator[bytes, None]:
    current = _open(path)
    previous = _open(older(path))
    starts = _starts(current, previous, wanted)
    try:
        if previous is not None and starts[1] is not None:
            async for line in _to_end(previous, starts[1], bytearray()):
                yield line
        position, carry = starts[0], bytearray()
        while True:
            ended = follow is None or follow.ended()
            if follow is not None:
                follow.changed.clear()
            if current is not None:
                async for line in _to_end(current, position, carry):
                    yield line
                position = os.lseek(current, 0, os.SEEK_CUR)
            fresh = _replaced(path, current)
            if fresh is not None:
                if current is not None:
                    async for line in _to_end(current, position, carry):
                        yield line
                    os.close(current)
                current, position, carry = fresh, 0, bytearray()
            elif ended or follow is None:
                return
            else:
                await follow.changed.wait()
    finally:
        for fd in (current, previous):
            if fd is not None:
                os.close(fd)


async def _to_end(fd: int, position: int, carry: bytearray) -> AsyncIterator[bytes]:
    """Lines from `position` to the end as it is now; the file's position is left there, an unfinished line in
    `carry`.
    """
    os.lseek(fd, position, os.SEEK_SET)
    while data := os.read(fd, CHUNK_BYTES):
        carry += data
        *lines, rest = carry.split(b"\n")
        carry[:] = rest[:_LINE_LIMIT_BYTES]
        for line in lines:
            yield bytes(line)
        await asyncio.sleep(0)


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _replaced(path: Path, current: int | None) -> int | None:
    """A descriptor of the file now at `path` when it is not the one we read."""
    fresh = _open(path)
    if fresh is None or current is None:
        return fresh
    there, here = os.fstat(fresh), os.fstat(current)
    if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
        return fresh
    os.close(fresh)
    return None


def _starts(current: int | None, previous: int | None, wanted: Wanted) -> tuple[int, int | None]:
    """Offsets to begin at in the current and the older file; None skips the older one."""
    if wanted.tail is None:
        return 0, 0
    if wanted.tail == 0:
        return _size(current), None
    offset, found = _tail_offset(current, wanted.tail, wanted)
    if found >= wanted.tail or previous is None:
        return offset, None
    return offset, _tail_offset(previous, wanted.tail - found, wanted)[0]


def _size(fd: int | None) -> int:
    return 0 if fd is None else os.fstat(fd).st_size


def _tail_offset(fd: int | None, count: int, wanted: Wanted) -> tuple[int, int]:
    """The offset at which the last `count` entries begin, and how many there are from it."""
    if fd is None:
        return 0, 0
    end = position = _size(fd)
    found, unfinished, rest = 0, True, b""
    while position > 0:
        size = min(CHUNK_BYTES, position)
        position -= size
        lines = (os.pread(fd, size, position) + rest).split(b"\n")
        rest = lines[0]
        offset = end
        for line in reversed(lines[1:]):
            offset -= len(line)
            if line:
                closes = _closes(line, wanted, unfinished)
                if closes and found == count:
                    return min(offset + len(line) + 1, end), found
                found += closes
                unfinished = unfinished and not _counts(line, wanted)
            offset -= 1
        end = position + len(rest)
    return 0, found + _closes(rest, wanted, unfinished) if rest else found


def _counts(line: bytes, wanted: Wanted) -> bool:
    stream = line.split(b" ", 2)[1:2]
    return (stream == [b"stdout"] and wanted.stdout) or (stream == [b"stderr"] and wanted.stderr)


def _closes(line: bytes, wanted: Wanted, unfinished: bool) -> bool:
    """Whether the line ends an entry that is wanted; the very last one does even as a part."""
    if not _counts(line, wanted):
        return False
    return unfinished or line.split(b" ", 3)[2:3] == [b"F"]
