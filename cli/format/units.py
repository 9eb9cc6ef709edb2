"""Human-readable ids, sizes, durations and times, as Docker prints them. Pure."""

import re
from datetime import UTC, datetime

from covey.clock import HOUR, SECOND

_TIME = r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?"
ID_LENGTH = 12


def short_id(identifier: str) -> str:
    """The first 12 characters of an id."""
    return identifier.removeprefix("sha256:")[:ID_LENGTH]


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time; 0 for Go's zero time and for an empty text."""
    found = re.fullmatch(_TIME, text or "")
    if not found or text.startswith("0001-"):
        return 0
    moment = datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00")
    if found[4] and found[4] != "Z":
        moment = datetime.fromisoformat(f"{found[1]}T{found[2]}{found[4]}")
    return int(moment.timestamp()) * SECOND + int((found[3] or "0").ljust(9, "0"))


def go_time(text: str) -> str:
    """An RFC 3339 time as Go's String prints it: ``2024-05-01 12:00:00.123456789 +0000 UTC``."""
    time_ns = parse_time(text)
    if not time_ns:
        return "0001-01-01 00:00:00 +0000 UTC"
    seconds, rest = divmod(time_ns, SECOND)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def ago(time_ns: int, now_ns: int) -> str:
    """The time since a moment, such as ``3 minutes ago``."""
    return f"{human_duration(now_ns - time_ns)} ago" if time_ns else ""


def human_duration(nanoseconds: int) -> str:
    """An approximate duration as docker prints it."""
    seconds = int(nanoseconds / SECOND) if nanoseconds > 0 else 0
    minutes, hours = seconds // 60, int(nanoseconds / HOUR + 0.5) if nanoseconds > 0 else 0
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    if hours < 24 * 14:
        return f"{hours // 24} days"
    if hours < 24 * 60:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(nanoseconds / HOUR) // 24 // 365} years"


def human_size(count: float, digits: int = 4) -> str:
    """Bytes in powers of 1000: ``2.1MB``."""
    return _scaled(count, 1000.0, ("B", "kB", "MB", "GB", "TB", "PB"), digits)


def human_binary_size(count: float, digits: int = 4) -> str:
    """Bytes in powers of 1024: ``64MiB``."""
    return _scaled(count, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"), digits)


def _scaled(count: float, base: float, units: tuple[str, ...], digits: int) -> str:
    index = 0
    while count >= base and index < len(units) - 1:
        count /= base
        index += 1
    return f"{count:.{digits}g}{units[index]}"
