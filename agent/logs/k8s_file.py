"""conmon's log lines: `TIME STREAM TAG TEXT`, where tag P is a part of a line and F its end.

Law: pure. `PartialLineJoiner` turns lines into whole entries and never holds more than a bound per stream.
"""

from __future__ import annotations

from datetime import datetime

from agent.logs.entry import LogEntry

ENTRY_LIMIT_BYTES = 1 << 20
_SECOND_NS = 1_000_000_000


class TimestampParser:
    """RFC 3339 with nanoseconds to Unix nanoseconds; remembers the last second, as neighbours share it."""

    def __init__(self) -> None:
        self._key = b""
        self._base_ns = 0

    def parse(self, text: bytes) -> int:
        """ValueError for anything else."""
        second, fraction, zone = text[:19], text[20:29], text[29:]
        if len(fraction) != 9 or text[19:20] != b".":
            raise ValueError("not a time of conmon's")
        key = second + zone
        if key != self._key:
            self._base_ns = int(datetime.fromisoformat(key.decode()).timestamp()) * _SECOND_NS
            self._key = key
        return self._base_ns + int(fraction)


class PartialLineJoiner:
    """Feeds lines in, gives whole entries out."""

    def __init__(self) -> None:
        self._times = TimestampParser()
        self._parts: dict[str, tuple[int, bytearray]] = {}

    def feed(self, line: bytes) -> LogEntry | None:
        """One line without its newline; an entry when it completes one. A damaged line is skipped."""
        fields = line.split(b" ", 3)
        if len(fields) != 4 or fields[1] not in (b"stdout", b"stderr"):
            return None
        try:
            time_ns = self._times.parse(fields[0])
        except ValueError:
            return None
        stream, final, text = fields[1].decode(), fields[2].startswith(b"F"), fields[3]
        held = self._parts.get(stream)
        if final and held is None:
            return LogEntry(time_ns, stream, text + b"\n")
        if held is None:
            held = self._parts[stream] = (time_ns, bytearray())
        held[1].extend(text)
        if final:
            held[1].extend(b"\n")
        if final or len(held[1]) >= ENTRY_LIMIT_BYTES:
            del self._parts[stream]
            return LogEntry(held[0], stream, bytes(held[1]))
        return None

    def flush(self) -> list[LogEntry]:
        """What was begun and not ended, once the container is done: entries without a newline."""
        rest = [LogEntry(time_ns, stream, bytes(data)) for stream, (time_ns, data) in self._parts.items() if data]
        self._parts.clear()
        return sorted(rest)
