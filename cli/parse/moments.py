"""Parser of moments in time: ``42m`` ago, ``2024-05-01T12:00:00Z``, ``2024-05-01``, or seconds since the epoch. Pure."""

import re

from covey.clock import SECOND
from covey.errors import InvalidArgumentError
from covey.quantities import parse_duration

_SECONDS = re.compile(r"[0-9]+(\.[0-9]{1,9})?")
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d(?::\d\d){0,2})(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?")


def parse_moment(text: str, now_ns: int) -> str:
    """Seconds since the epoch, as the API takes them; empty for an empty text. A time without a zone is local.

    Raises:
        InvalidArgumentError: it is no moment.
    """
    if not text or _SECONDS.fullmatch(text):
        return text
    found = _DATE.fullmatch(text)
    try:
        return _seconds(found) if found else _before(text, now_ns)
    except (InvalidArgumentError, ValueError):
        raise InvalidArgumentError(
            f"{text!r} is no time: write a duration such as 42m, or a timestamp such as 2024-05-01T12:00:00Z"
        ) from None


def _before(text: str, now_ns: int) -> str:
    moment = now_ns - (-parse_duration(text[1:]) if text.startswith("-") else parse_duration(text))
    return f"{moment // SECOND}.{moment % SECOND:09d}"


def _seconds(found: re.Match[str]) -> str:
    from datetime import datetime

    time = (found[2] or "00:00:00").ljust(5, "0")
    time = {2: f"{found[2]}:00:00", 5: f"{time}:00"}.get(len(found[2] or ""), time)
    zone = "+00:00" if found[4] == "Z" else found[4] or ""
    moment = datetime.fromisoformat(f"{found[1]}T{time}{zone}")
    return f"{int(moment.timestamp())}{found[3] or ''}"
