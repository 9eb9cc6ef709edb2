"""Times in JSON (RFC 3339 with nanoseconds) and in queries, converted from and to integer nanoseconds."""

import re
from datetime import UTC, datetime

from covey.clock import HOUR, MICROSECOND, MILLISECOND, MINUTE, SECOND
from covey.errors import InvalidArgumentError

ZERO = "0001-01-01T00:00:00Z"

_EPOCH_SECONDS = re.compile(r"(-?\d+)(?:\.(\d{1,9})\d*)?")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?([Zz]|[+-]\d\d:\d\d)?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": MICROSECOND, "µs": MICROSECOND, "ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR}


def rfc3339(time_ns: int) -> str:
    """A time as Go writes it, without trailing zeros of the fraction; 0 is Go's zero time."""
    if time_ns <= 0:
        return ZERO
    seconds, rest = divmod(time_ns, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{text}{fraction}Z"


def log_time(time_ns: int) -> str:
    """A time as Docker writes it before a log line, with all nine digits of the fraction."""
    seconds, rest = divmod(time_ns, SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%dT%H:%M:%S')}.{rest:09d}Z"


def parse_rfc3339(text: str) -> int:
    """An RFC 3339 time in nanoseconds; Go's zero time and the empty text are 0."""
    if not text or text == ZERO:
        return 0
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise InvalidArgumentError(f"{text!r} is not a time such as 2024-05-01T12:00:00Z")
    day, minute, second, fraction, zone = found.groups()
    zone = "+00:00" if zone is None or zone in "Zz" else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{minute or '00:00'}:{second or '00'}{zone}")
    except ValueError:
        raise InvalidArgumentError(f"{text!r} is not a time such as 2024-05-01T12:00:00Z") from None
    return int(moment.timestamp()) * SECOND + int((fraction or "0").ljust(9, "0"))


def parse_moment(text: str, now_ns: int) -> int:
    """A time in a query: seconds since the epoch, RFC 3339, or a duration before now (``10m``). Empty and 0 are 0."""
    if not text or text == "0":
        return 0
    if (found := _EPOCH_SECONDS.fullmatch(text)) is not None:
        return int(found[1]) * SECOND + int((found[2] or "0").ljust(9, "0"))
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return now_ns - int(sum(float(number) * _UNITS[unit] for number, unit in parts))
    return parse_rfc3339(text)
