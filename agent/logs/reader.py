"""Log reader: entries of a container's rotated and current log file, their tail, and log following.

Invariant: files are read in pieces of 64 KiB, with a turn of the loop between them. Invariant: following does not poll;
it waits for `FollowSignals.changed`. Called by `agent.container.commands.logs`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

from agent.logs import tail
from agent.logs.entry import LogEntry
from agent.logs.k8s_file import PartialLineJoiner

_LINE_LIMIT_BYTES = 1 << 20


class LogFilter(NamedTuple):
    """The entries to return. A `tail` of None means all; a time of 0 means no bound."""

    tail: int | None = None
    since_ns: int = 0
    until_ns: int = 0
    stdout: bool = True
    stderr: bool = True

    def includes(self, stream: str) -> bool:
        return self.stdout if stream == "stdout" else self.stderr


class FollowSignals(NamedTuple):
    """`changed` is set when the log's directory changes or the container ends; `ended` says that nothing more comes."""

    changed: asyncio.Event
    ended: Callable[[], bool]


def rotated_path(path: Path) -> Path:
    """The path to which rotation moves the file."""
    return path.with_name(path.name + ".1")


async def read(
    path: Path, log_filter: LogFilter, follow: FollowSignals | None = None
) -> AsyncGenerator[LogEntry, None]:
    """Entries in the order they were written. A missing log is empty."""
    files = [fd for fd in (_open(rotated_path(path)), _open(path)) if fd is not None]
    try:
        begin = _start_position(files, log_filter)
    except BaseException:
        _close(files)
        raise
    joiner, skip = PartialLineJoiner(), begin.skip
    async with contextlib.aclosing(_lines(path, files, begin, follow)) as lines:
        async for line in lines:
            entry = joiner.feed(line)
            if entry is None or not log_filter.includes(entry.stream):
                continue
            if skip:
                skip -= 1
                continue
            if log_filter.until_ns and entry.time_ns > log_filter.until_ns:
                return
            if entry.time_ns >= log_filter.since_ns:
                yield entry
    rest = [entry for entry in joiner.flush() if log_filter.includes(entry.stream)]
    for entry in rest[skip:]:
        if entry.time_ns >= log_filter.since_ns and not (log_filter.until_ns and entry.time_ns > log_filter.until_ns):
            yield entry


async def _lines(
    path: Path, files: list[int], begin: tail.TailPosition, follow: FollowSignals | None
) -> AsyncGenerator[bytes, None]:
    """Lines from `begin` to the end of the last file and of the files that replace it. Closes all files."""
    carry = bytearray()
    try:
        for number in range(begin.file, len(files) - 1):
            async for line in _to_end(files[number], begin.offset if number == begin.file else 0, carry):
                yield line
        position = begin.offset if files and begin.file == len(files) - 1 else 0
        while True:
            ended = follow is None or follow.ended()
            if follow is not None:
                follow.changed.clear()
            fresh = _replaced(path, files[-1] if files else None)
            if files:
                async for line in _to_end(files[-1], position, carry):
                    yield line
                position = os.lseek(files[-1], 0, os.SEEK_CUR)
            if fresh is not None:
                _close(files)
                files[:], position = [fresh], 0
            elif ended or follow is None:
                return
            else:
                await follow.changed.wait()
    finally:
        _close(files)


def _close(files: list[int]) -> None:
    for fd in files:
        os.close(fd)
    files.clear()


async def _to_end(fd: int, position: int, carry: bytearray) -> AsyncIterator[bytes]:
    """Lines from `position` to the present end of the file. Leaves the file position there, and an unfinished line in
    `carry`.
    """
    os.lseek(fd, position, os.SEEK_SET)
    while data := os.read(fd, tail.CHUNK_BYTES):
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
    """A descriptor of the file at `path`, if it is not the current one."""
    fresh = _open(path)
    if fresh is None or current is None:
        return fresh
    there, here = os.fstat(fresh), os.fstat(current)
    if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
        return fresh
    os.close(fresh)
    return None


def _start_position(files: list[int], log_filter: LogFilter) -> tail.TailPosition:
    if log_filter.tail is None or not files:
        return tail.TailPosition(0, 0, 0)
    streams = ([b"stdout"] if log_filter.stdout else []) + ([b"stderr"] if log_filter.stderr else [])
    return tail.find_tail(files, log_filter.tail, frozenset(streams))
