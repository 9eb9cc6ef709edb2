"""Quantities as people write them: durations, byte sizes and CPU counts. Pure."""

import re

from covey.clock import HOUR, MICROSECOND, MILLISECOND, MINUTE, SECOND
from covey.errors import InvalidArgumentError

NANO = 1_000_000_000
_UNITS = {"ns": 1, "us": MICROSECOND, "µs": MICROSECOND, "ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR}
_DURATION = r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)"
_SIZE = r"(\d+(?:\.\d+)?) ?([kmgtp])?(i?b)?"


def parse_duration(text: str) -> int:
    """Nanoseconds of ``1m30s``, ``500ms``, ``0``.

    Raises:
        InvalidArgumentError: not of that form.
    """
    if text == "0":
        return 0
    parts = re.findall(_DURATION, text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidArgumentError(
            f"invalid duration {text!r}: write a number and ns, us, ms, s, m or h, such as 1m30s"
        )
    return sum(round(float(number) * _UNITS[unit]) for number, unit in parts)


def go_duration(nanoseconds: int) -> str:
    """A duration as Go prints it: ``1m30s``, ``500ms``."""
    if not nanoseconds:
        return "0s"
    if nanoseconds < SECOND:
        for unit, size in (("ms", MILLISECOND), ("µs", MICROSECOND), ("ns", 1)):
            if nanoseconds >= size:
                return f"{_decimal(nanoseconds / size)}{unit}"
    minutes, rest = divmod(nanoseconds, MINUTE)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{head}{_decimal(rest / SECOND)}s"


def _decimal(value: float) -> str:
    return f"{value:.9f}".rstrip("0").rstrip(".")


def parse_bytes(text: str) -> int:
    """Bytes of ``64m``, ``1.5GiB``, ``1024``: powers of 1024, as Docker reads memory sizes.

    Raises:
        InvalidArgumentError: not of that form.
    """
    found = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE)
    if not found:
        raise InvalidArgumentError(f"invalid size {text!r}: write a number and b, k, m, g or t, such as 64m")
    exponent = " kmgtp".index(found[2].lower()) if found[2] else 0
    return int(float(found[1]) * 1024**exponent)


def parse_cpus(text: str) -> int:
    """Billionths of a CPU (NanoCPUs) of ``0.5``.

    Raises:
        InvalidArgumentError: no decimal number, or finer than a billionth.
    """
    from decimal import Decimal, InvalidOperation

    try:
        nano = Decimal(text) * NANO
    except InvalidOperation:
        raise InvalidArgumentError(f"{text!r} is not a number of CPUs such as 0.5") from None
    if nano != int(nano) or nano < 0:
        raise InvalidArgumentError(f"{text!r} is not a number of CPUs such as 0.5")
    return int(nano)
