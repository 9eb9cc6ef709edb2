"""Quantities as people write them: durations, byte sizes and CPU counts. Pure."""

import re

from covey.clock import HOUR, MICROSECOND, MILLISECOND, MINUTE, SECOND
from covey.errors import InvalidArgumentError

NANO = 1_000_000_000
_LIMIT = 1 << 63
_MAX_LENGTH = 256
"""Characters of a quantity: a pattern takes the square of the length of a text that it does not match."""
_UNITS = {"ns": 1, "us": MICROSECOND, "µs": MICROSECOND, "ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR}
_SIZE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DURATION = r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)"
_SIZE = r"(\d+(?:\.\d+)?) ?([kmgtp])?(i?b)?"


def parse_duration(text: str) -> int:
    """Nanoseconds of ``1m30s``, ``500ms``, ``0``.

    Raises:
        InvalidArgumentError: not of that form.
    """
    if text == "0":
        return 0
    parts = re.findall(_DURATION, text) if len(text) <= _MAX_LENGTH else []
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidArgumentError(
            f"invalid duration {text!r}: write a number and ns, us, ms, s, m or h, such as 1m30s"
        )
    value = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if value >= _LIMIT:
        raise InvalidArgumentError(f"invalid duration {text!r}: it is longer than 292 years")
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
    found = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE) if len(text) <= _MAX_LENGTH else None
    if not found:
        raise InvalidArgumentError(f"invalid size {text!r}: write a number and b, k, m, g or t, such as 64m")
    exponent = " kmgtp".index(found[2].lower()) if found[2] else 0
    value = float(found[1]) * 1024**exponent
    if value >= _LIMIT:
        raise InvalidArgumentError(f"invalid size {text!r}: it does not fit 64 bits")
    return int(value)


def floor_size(size_bytes: int) -> str:
    """A size with its largest binary unit and at most two decimals, never more than it is: ``1.19GiB``, ``512MiB``."""
    exponent = 0
    while exponent < len(_SIZE_UNITS) - 1 and size_bytes >= 1024 ** (exponent + 1):
        exponent += 1
    hundredths = size_bytes * 100 // 1024**exponent
    return f"{hundredths / 100:.2f}".rstrip("0").rstrip(".") + _SIZE_UNITS[exponent]


def parse_cpus(text: str) -> int:
    """Billionths of a CPU (NanoCPUs) of ``0.5``.

    Raises:
        InvalidArgumentError: no decimal number, or finer than a billionth.
    """
    from decimal import Decimal, DecimalException

    try:
        nano = Decimal(text) * NANO
    except DecimalException:
        raise InvalidArgumentError(f"{text!r} is not a number of CPUs such as 0.5") from None
    if not nano.is_finite() or not 0 <= nano < _LIMIT or nano != int(nano):
        raise InvalidArgumentError(f"{text!r} is not a number of CPUs such as 0.5")
    return int(nano)
