"""Parser of signal names and numbers: "TERM", "SIGTERM", "15", "RTMIN+3". Pure."""

from __future__ import annotations

import re
import signal

from covey.errors import InvalidArgumentError

_REALTIME = re.compile(r"RT(MIN|MAX)([+-]\d+)?")


def parse_signal(text: str) -> int:
    """The signal's number on this machine. Raises InvalidArgumentError if there is no such signal."""
    name = text.upper().removeprefix("SIG")
    if name.isdigit() and 0 < int(name) <= signal.SIGRTMAX:
        return int(name)
    match = _REALTIME.fullmatch(name)
    if match:
        base = signal.SIGRTMIN if match[1] == "MIN" else signal.SIGRTMAX
        value = base + int(match[2] or 0)
        if signal.SIGRTMIN <= value <= signal.SIGRTMAX:
            return value
    elif hasattr(signal, f"SIG{name}") and isinstance(getattr(signal, f"SIG{name}"), signal.Signals):
        return int(getattr(signal, f"SIG{name}"))
    raise InvalidArgumentError(f"Invalid signal: {text}")
