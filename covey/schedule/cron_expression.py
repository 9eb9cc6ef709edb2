"""Cron expressions: their check, and the scheduled times around a moment. Pure.

Invariant: scheduled times are whole seconds, and ``next_time`` is later than the moment it is asked for, over every change of a zone's
clock. The library reads expressions as Debian's cron does ([ADR 40](../../docs/adr/0040-cronsim.md)).
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from covey.clock import SECOND
from covey.errors import InvalidArgumentError

if TYPE_CHECKING:
    from cronsim import CronSim

MAX_EXPRESSION = 256
"""Characters of an expression, so that reading one takes little time."""
MAX_TIMEZONE = 64
_FORM = "write five fields (minute hour day-of-month month day-of-week), or six with seconds before them"
_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_HOST_ZONES = frozenset({"localtime", "posixrules", "Factory"})
"""Zones that differ from host to host."""


def require_expression(text: str) -> None:
    """Checks an expression.

    Raises:
        InvalidArgumentError: it is malformed, or it names no time within 50 years.
    """
    if len(text) > MAX_EXPRESSION:
        raise InvalidArgumentError(f"the expression has {len(text)} characters, the limit is {MAX_EXPRESSION}")
    if not _next(text, datetime(2024, 1, 1, tzinfo=UTC)):
        raise InvalidArgumentError(f"{text!r} never comes: no such day within 50 years")


def require_timezone(name: str) -> None:
    """Checks the name of a time zone. Raises InvalidArgumentError if there is no such zone."""
    _zone(name)


def next_time(expression: str, timezone: str, after_ns: int) -> int:
    """The first scheduled time after a moment, 0 if there is none within 50 years."""
    moment = datetime.fromtimestamp(after_ns // SECOND, _zone(timezone))
    found = _next(expression, moment)
    return int(found.timestamp()) * SECOND if found is not None else 0


def last_time(expression: str, timezone: str, first_ns: int, until_ns: int) -> int:
    """The last scheduled time until a moment; ``first_ns`` is one of them."""
    moment = datetime.fromtimestamp(until_ns // SECOND + 1, _zone(timezone))
    found = _next(expression, moment, reverse=True)
    found_ns = int(found.timestamp()) * SECOND if found is not None else 0
    return found_ns if first_ns < found_ns <= until_ns else first_ns


def _next(expression: str, moment: datetime, *, reverse: bool = False) -> datetime | None:
    simulation = _simulation(expression, moment, reverse=reverse)
    try:
        found: datetime = next(simulation)
    except (StopIteration, OverflowError):  # not within 50 years, or after the year 9999
        return None
    return found


def _simulation(expression: str, moment: datetime, *, reverse: bool) -> CronSim:
    from cronsim import CronSim, CronSimError

    text = _WORDS.get(expression.strip().lower(), expression)
    fields = text.split()
    if (
        len(fields) == 6 and fields[0] == "0"
    ):  # the same times as without seconds, with cron's care for changes of the clock
        fields = fields[1:]
    try:
        return CronSim(" ".join(fields), moment, reverse=reverse)
    except CronSimError as error:
        reason = f"no time has its {str(error).removeprefix('Bad ')}"
        if str(error) == "Wrong number of fields":
            reason = f"it has {len(fields)} fields"
        raise InvalidArgumentError(f"{expression!r}: {reason}; {_FORM}") from error


def _zone(name: str) -> tzinfo:
    if not name or name == "UTC":
        return UTC
    if len(name) <= MAX_TIMEZONE and name not in _HOST_ZONES:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder
            pass
    raise InvalidArgumentError(f"there is no time zone {name[:MAX_TIMEZONE]!r}; write a name such as Europe/Berlin")
