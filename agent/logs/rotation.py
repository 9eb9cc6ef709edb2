"""Log rotation: moves a container's log file aside before conmon has to truncate it.

Invariant: the current and the rotated file together stay under the container's `log_max_bytes`. While no daemon runs,
conmon alone enforces its share. Called by `agent.container.service`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from agent.logs.reader import rotated_path
from agent.runtime import conmon

_ROTATE_SHARE = 0.4
_CONMON_SHARE = 0.6
_MIN_CONMON_LIMIT_BYTES = 64 << 10
_INTERVAL_SECONDS = 2.0


class RunningLog(NamedTuple):
    """The log of a running container."""

    path: Path
    bundle: Path
    max_bytes: int


def conmon_log_limit(max_bytes: int) -> int:
    """The size at which conmon truncates the current file."""
    return max(int(max_bytes * _CONMON_SHARE), _MIN_CONMON_LIMIT_BYTES)


def needs_rotation(size_bytes: int, max_bytes: int) -> bool:
    return size_bytes > max_bytes * _ROTATE_SHARE


def rotate(path: Path, bundle: Path, max_bytes: int) -> bool:
    """Move the log aside if it is large enough, and make conmon open a new one."""
    try:
        if not needs_rotation(path.stat().st_size, max_bytes):
            return False
    except FileNotFoundError:
        return False
    path.rename(rotated_path(path))
    conmon.reopen_log(bundle)
    return True


async def rotate_periodically(running_logs: Callable[[], Iterable[RunningLog]]) -> None:
    """Check the logs of all running containers every 2 s, until cancelled."""
    while True:
        await asyncio.sleep(_INTERVAL_SECONDS)
        for log in running_logs():
            rotate(log.path, log.bundle, log.max_bytes)
