"""Log entry of a container: one line or one unterminated piece of output, with its time and stream."""

from __future__ import annotations

from typing import NamedTuple


class LogEntry(NamedTuple):
    """`stream` is "stdout" or "stderr"; `data` keeps its final newline; `time_ns` is Unix nanoseconds."""

    time_ns: int
    stream: str
    data: bytes
