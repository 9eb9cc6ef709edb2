"""Keeping logs within their bound: the current file is moved aside before conmon would have to empty it.

Law: both files together stay under the container's `log_max_bytes`. conmon enforces its share alone when no daemon
is there.
"""

from __future__ import annotations

from pathlib import Path

from agent.logs.reader import rotated_path
from agent.runtime import conmon

_ROTATE_SHARE = 0.4
_MONITOR_SHARE = 0.6


def conmon_log_limit(max_bytes: int) -> int:
    """What conmon is told as the size of one file."""
    return max(int(max_bytes * _MONITOR_SHARE), 64 << 10)


def needs_rotation(size_bytes: int, max_bytes: int) -> bool:
    return size_bytes > max_bytes * _ROTATE_SHARE


def rotate(path: Path, bundle: Path, max_bytes: int) -> bool:
    """Move the log aside if it is due and have conmon open a new one."""
    try:
        if not needs_rotation(path.stat().st_size, max_bytes):
            return False
    except FileNotFoundError:
        return False
    path.rename(rotated_path(path))
    conmon.reopen_log(bundle)
    return True
