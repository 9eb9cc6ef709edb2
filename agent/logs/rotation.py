"""Log rotation: numbers a container's log file and begins a new one when it is as large as its log's options say.

Invariant: a log has at most `max_files` files, each of about `max_bytes`. The sizes are looked at more often the faster a
log grows. While no daemon runs, conmon alone bounds the current file, by starting it again. Called by
`agent.container.service`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from agent.logs import files
from agent.runtime import conmon

_MAX_INTERVAL_SECONDS, _MIN_INTERVAL_SECONDS = 2.0, 0.05
_REOPEN_LOOKS, _REOPEN_SECONDS = 20, 0.005
_MIN_CONMON_LIMIT_BYTES = 4 << 10


class RunningLog(NamedTuple):
    """The log of a running container. `max_bytes` bounds one file; 0 means no bound."""

    path: Path
    bundle: Path
    max_bytes: int
    max_files: int
    compress: bool = False


def conmon_log_limit(max_bytes: int, max_files: int) -> int:
    """The size at which conmon starts the current file again, 0 for none.

    With one file that is all of rotation. With several it is the size of them all, so that it loses nothing of a log
    that grows faster than this daemon looks.
    """
    return max(max_bytes * max_files, _MIN_CONMON_LIMIT_BYTES) if max_bytes else 0


def seconds_until_next_look(size_bytes: int, grown_bytes: int, seconds: float, max_bytes: int) -> float:
    """How long a log can be left alone that grew so much in the last seconds: half the time until it is full."""
    if grown_bytes <= 0 or seconds <= 0:
        return _MAX_INTERVAL_SECONDS
    left_seconds = max(max_bytes - size_bytes, 0) * seconds / grown_bytes
    return min(max(left_seconds / 2, _MIN_INTERVAL_SECONDS), _MAX_INTERVAL_SECONDS)


def rotate(log: RunningLog) -> bool:
    """Number the current file if it is large enough, and make conmon open a new one."""
    if not log.max_bytes or log.max_files < 2:
        return False
    try:
        adopted = _adopt_replaced(log)
        if log.path.stat().st_size < log.max_bytes:
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
    """Looks after the logs of all running containers."""

    def __init__(self, running_logs: Callable[[], Iterable[RunningLog]]) -> None:
        self._running_logs = running_logs
        self._sizes: dict[Path, int] = {}

    async def run(self) -> None:
        """Rotate until cancelled."""
        loop = asyncio.get_running_loop()
        interval = _MAX_INTERVAL_SECONDS
        while True:
            before = loop.time()
            await asyncio.sleep(interval)
            logs = [log for log in self._running_logs() if log.max_bytes and log.max_files > 1]
            interval = await asyncio.to_thread(self._look, logs, loop.time() - before)

    def _look(self, logs: list[RunningLog], seconds: float) -> float:
        """Rotate what is full. Returns the seconds until the next look."""
        before, self._sizes = self._sizes, {}
        interval = _MAX_INTERVAL_SECONDS
        for log in logs:
            try:
                compress_older(log)
                size = log.path.stat().st_size
                rotated = rotate(log)
            except OSError:
                continue  # removed meanwhile, or the disk is full: the next look tries again
            grown = size - before.get(log.path, 0)
            self._sizes[log.path] = 0 if rotated else size
            interval = min(interval, seconds_until_next_look(0 if rotated else size, grown, seconds, log.max_bytes))
        return interval
