"""Log rotation: numbers a container's log file and begins a new one when it is as large as its log's options say.

Invariant: a log has at most `max_files` files, each of about `max_bytes`. The sizes are looked at more often the faster a
log grows. While no daemon runs, conmon alone bounds the current file, by starting it again. Called by
`agent.container.service`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from agent.logs import files
from agent.runtime import conmon

logger = logging.getLogger(__name__)
_MAX_INTERVAL_SECONDS, _MIN_INTERVAL_SECONDS = 2.0, 0.05
_REOPEN_LOOKS, _REOPEN_SECONDS = 100, 0.001
_MIN_CONMON_LIMIT_BYTES = 4 << 10
_MIN_REPLACED_BYTES = 16 << 20
"""More than conmon writes between two looks at a log that grows fast, so that it never replaces two files between them."""
_FAST_BYTES_PER_SECOND = 2 << 20
"""A log that grows faster is left to conmon: asked to open a new file while it does so itself, it would lose one."""


class RunningLog(NamedTuple):
    """The log of a running container. `max_bytes` bounds one file; 0 means no bound."""

    path: Path
    bundle: Path
    max_bytes: int
    max_files: int
    compress: bool = False


def conmon_log_limit(max_bytes: int, max_files: int) -> int:
    """The size at which conmon starts the current file again, 0 for none.

    With one file that is all of rotation. With several it is the size of them all and at least what conmon writes between
    two looks, so that it loses nothing of a log that grows faster than this daemon looks.
    """
    least = _MIN_CONMON_LIMIT_BYTES if max_files < 2 else _MIN_REPLACED_BYTES
    return max(max_bytes * max_files, least) if max_bytes else 0


def seconds_until_next_look(size_bytes: int, grown_bytes: int, seconds: float, max_bytes: int) -> float:
    """How long a log can be left alone that grew so much in the last seconds: half the time until it is full."""
    if grown_bytes <= 0 or seconds <= 0:
        return _MAX_INTERVAL_SECONDS
    left_seconds = max(max_bytes - size_bytes, 0) * seconds / grown_bytes
    return min(max(left_seconds / 2, _MIN_INTERVAL_SECONDS), _MAX_INTERVAL_SECONDS)


def rotate(log: RunningLog, *, fast: bool = False) -> bool:
    """Number the current file if it is large enough, and make conmon open a new one; if it grows fast, what conmon replaced alone."""
    if not log.max_bytes or log.max_files < 2:
        return False
    try:
        adopted = _adopt_replaced(log)
        if fast or log.path.stat().st_size < log.max_bytes:
            return adopted
    except FileNotFoundError:
        return False
    _shift(log)
    _kept(log).unlink(missing_ok=True)
    log.path.rename(files.numbered_path(log.path, 1))
    conmon.reopen_log(log.bundle)
    _keep_when_reopened(log)
    return True


def _adopt_replaced(log: RunningLog) -> bool:
    """Number the file that conmon itself has replaced meanwhile: it counts what it wrote since its own start, whatever was rotated.

    The second name that each current file has keeps such a file.
    """
    kept = _kept(log)
    if not kept.exists():
        kept.hardlink_to(log.path)
        return False
    if kept.samefile(log.path):
        return False
    _shift(log)
    kept.rename(files.numbered_path(log.path, 1))
    kept.hardlink_to(log.path)
    return True


def keep(log: RunningLog) -> None:
    """Give the current file its second name before the container writes, so that the first file that conmon replaces stays too."""
    if not log.max_bytes or log.max_files < 2 or not log.path.exists():
        return
    kept = _kept(log)
    kept.unlink(missing_ok=True)
    kept.hardlink_to(log.path)


def finish(log: RunningLog) -> None:
    """Number the file that conmon replaced since the last look, after the container has ended, and drop the second name."""
    kept = _kept(log)
    try:
        if log.path.exists() and not kept.samefile(log.path):
            _shift(log)
            kept.rename(files.numbered_path(log.path, 1))
    except FileNotFoundError:
        return
    kept.unlink(missing_ok=True)


def _keep_when_reopened(log: RunningLog) -> None:
    """Give the file that conmon opens now its second name."""
    for _ in range(_REOPEN_LOOKS):
        if log.path.exists():
            _kept(log).hardlink_to(log.path)
            return
        time.sleep(_REOPEN_SECONDS)


def _kept(log: RunningLog) -> Path:
    return log.path.with_name(f"kept-{log.path.name}")


def _shift(log: RunningLog) -> None:
    """Make room for a new file number 1. The oldest is removed once there are as many as the log may have."""
    for number, path in files.older_files(log.path):
        if number >= log.max_files - 1:
            path.unlink(missing_ok=True)
        else:
            suffix = files.COMPRESSED if path.suffix == files.COMPRESSED else ""
            target = files.numbered_path(log.path, number + 1)
            path.rename(target.with_name(target.name + suffix))


def compress_older(log: RunningLog) -> None:
    """Compress the numbered files. Conmon no longer writes to them once there is a current file."""
    if log.compress and log.path.exists():
        for _, path in files.older_files(log.path):
            if path.suffix != files.COMPRESSED:
                files.compress(path)


class LogRotator:
    """Looks after the logs of all running containers. Methods that block are for threads; one at a time changes files."""

    def __init__(self, running_logs: Callable[[], Iterable[RunningLog]]) -> None:
        self._running_logs = running_logs
        self._sizes: dict[Path, int] = {}
        self._started = asyncio.Event()
        self._lock = threading.Lock()
        self._ended: set[Path] = set()

    async def begin(self, log: RunningLog) -> None:
        """Before a container writes its first line: keep what it writes, and look at it soon."""
        self._ended.discard(log.path)
        await asyncio.to_thread(self._locked, keep, log)
        self._started.set()

    async def end(self, log: RunningLog) -> None:
        """After a container has ended: number what conmon replaced meanwhile."""
        self._ended.add(log.path)
        await asyncio.to_thread(self._locked, finish, log)

    async def run(self) -> None:
        """Rotate until cancelled."""
        loop = asyncio.get_running_loop()
        interval = _MAX_INTERVAL_SECONDS
        while True:
            before = loop.time()
            try:
                async with asyncio.timeout(interval):
                    await self._started.wait()
                self._started.clear()
                await asyncio.sleep(_MIN_INTERVAL_SECONDS)
            except TimeoutError:
                pass
            logs = [log for log in self._running_logs() if log.max_bytes and log.max_files > 1]
            self._ended &= {log.path for log in logs}
            interval = await asyncio.to_thread(self._look, logs, loop.time() - before)

    def _locked(self, work: Callable[[RunningLog], None], log: RunningLog) -> None:
        with self._lock:
            try:
                work(log)
            except OSError as error:
                logger.warning("the log %s cannot be rotated: %s", log.path, error)

    def _look(self, logs: list[RunningLog], seconds: float) -> float:
        """Rotate what is full. Returns the seconds until the next look."""
        before, self._sizes = self._sizes, {}
        interval = _MAX_INTERVAL_SECONDS
        for log in logs:
            try:
                with self._lock:
                    if log.path in self._ended:
                        continue
                    compress_older(log)
                    size = log.path.stat().st_size
                    grown = size - before.get(log.path, 0)
                    grown_seconds = seconds if log.path in before else _MIN_INTERVAL_SECONDS
                    rotated = rotate(log, fast=grown > _FAST_BYTES_PER_SECOND * grown_seconds)
            except FileNotFoundError:  # conmon is busy and opens its new file late: give that its second name soon
                interval = _MIN_INTERVAL_SECONDS
                continue
            except OSError:
                continue  # removed meanwhile, or the disk is full: the next look tries again
            self._sizes[log.path] = 0 if rotated else size
            interval = min(interval, seconds_until_next_look(0 if rotated else size, grown, seconds, log.max_bytes))
        return interval
