"""Log reader: lines of a container's older and current log files, their tail, and log following.

Invariant: files are read in blocks of 256 KiB, in a thread, with a turn of the loop between them. Invariant: following
does not poll; it waits for `FollowSignals.changed`. Called by `agent.container.commands.logs`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from agent.logs import files, tail
from agent.logs.entry import LogEntry
from agent.logs.k8s_file import PartialLineJoiner

BLOCK_BYTES = 256 << 10
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


class LogBlock(NamedTuple):
    """Complete lines, each with its newline. The first `skip` entries of the wanted streams stand before the tail."""

    data: bytes
    skip: int = 0


async def read(
    path: Path, log_filter: LogFilter, follow: FollowSignals | None = None
) -> AsyncGenerator[LogEntry, None]:
    """Entries in the order they were written. A missing log is empty."""
    joiner, skip = PartialLineJoiner(), 0
    async with contextlib.aclosing(read_blocks(path, log_filter, follow)) as blocks:
        async for block in blocks:
            skip += block.skip
            for line in block.data.split(b"\n"):
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


async def read_blocks(
    path: Path, log_filter: LogFilter, follow: FollowSignals | None = None
) -> AsyncGenerator[LogBlock, None]:
    """The lines from the tail's beginning to the end of the last file, and of the files that replace it.

    Only the tail of the filter is applied here, and the end of a followed log at `until_ns`.
    """
    opened = await _opened(partial(files.open_files, path))
    carry = b""
    try:
        begin = await asyncio.to_thread(_start_position, opened, log_filter)
        skip = begin.skip
        for _ in range(begin.file):
            os.close(opened.pop(0))
        position = begin.offset
        while True:
            ended = follow is None or follow.ended() or _is_past(log_filter.until_ns)
            if follow is not None:
                follow.changed.clear()
            last = len(opened) <= 1
            replaced = last and not (opened and files.is_current(path, opened[0]))
            while opened and (data := await asyncio.to_thread(os.pread, opened[0], BLOCK_BYTES, position)):
                position += len(data)
                whole, newline, carry = (carry + data).rpartition(b"\n")
                carry = carry[:_LINE_LIMIT_BYTES]
                if newline:
                    yield LogBlock(whole + newline, skip)
                    skip = 0
            if not last:
                os.close(opened.pop(0))
                position = 0
            elif replaced and (fresh := await _opened(partial(_open_newer, path, opened))):
                files.close_files(opened)
                opened, position = fresh, 0
            elif ended or follow is None:
                return
            else:
                await _wait_for_change(follow, log_filter.until_ns)
    finally:
        files.close_files(opened)


async def _opened(open_files: Callable[[], list[int]]) -> list[int]:
    """Open files in a thread. If the caller is cancelled meanwhile, they are closed as soon as they are open."""
    opening = asyncio.ensure_future(asyncio.to_thread(open_files))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_result)
        raise


def _close_result(opening: asyncio.Future[list[int]]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        files.close_files(opening.result())


def _open_newer(path: Path, opened: list[int]) -> list[int]:
    fresh = files.open_newer(path, opened[0] if opened else None)
    return [fresh] if fresh is not None else []


async def _wait_for_change(follow: FollowSignals, until_ns: int) -> None:
    seconds = max(0.0, (until_ns - time.time_ns()) / 1e9) if until_ns else None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await follow.changed.wait()


def _is_past(until_ns: int) -> bool:
    return bool(until_ns) and time.time_ns() >= until_ns


def _start_position(opened: list[int], log_filter: LogFilter) -> tail.TailPosition:
    if log_filter.tail is None or not opened:
        return tail.TailPosition(0, 0, 0)
    streams = ([b"stdout"] if log_filter.stdout else []) + ([b"stderr"] if log_filter.stderr else [])
    return tail.find_tail(opened, log_filter.tail, frozenset(streams))
