"""The clock type and units of time.

Code that decides takes the time as the argument ``now_ns``; code that acts reads it from a ``Clock``. All stored times are integers:
nanoseconds since the Unix epoch, UTC; 0 means "never".
"""

import time
from collections.abc import Callable

Clock = Callable[[], int]

NANOSECOND = 1
MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


def wall_clock() -> int:
    """Nanoseconds since the epoch."""
    return time.time_ns()


def boot_time() -> float:
    """Seconds since boot, including those in which the host was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
