"""Parser of conmon's log format "k8s-file": `TIME STREAM TAG TEXT`, where tag P is a part of a line and F its end.

Invariant: pure. `PartialLineJoiner` joins parts to entries and holds at most `ENTRY_LIMIT_BYTES` per stream.
"""

from __future__ import annotations

from datetime import datetime

from agent.logs.entry import LogEntry

ENTRY_LIMIT_BYTES = 1 << 20
_SECOND_NS = 1_000_000_000


class TimestampParser:
    """Parses RFC 3339 with nanoseconds to Unix nanoseconds. Caches the last second, which neighbouring lines share."""

    def __init__(self) -> None:
        self._key = b""
        self._base_ns = 0

    def parse(self, text: bytes) -> int:
        """Raises ValueError for any other format."""
        second, fraction, zone = text[:19], text[20:29], text[29:]
        if len(fraction) != 9 or text[19:20] != b".":
            raise ValueError("not a time stamp of conmon")
        key = second + zone
        if key != self._key:
            self._base_ns = int(datetime.fromisoformat(key.decode()).timestamp()) * _SECOND_NS
            self._key = key
        return self._base_ns + int(fraction)


class PartialLineJoiner:
    """Turns log lines into entries."""

    def __init__(self) -> None:
        self._times = TimestampParser()
        self._parts: dict[str, tuple[int, bytearray]] = {}

    def feed(self, line: bytes) -> LogEntry | None:
        """Take a line without its newline; returns the entry that it completes, if any. Skips damaged lines."""
        fields = line.split(b" ", 3)
        if len(fields) != 4 or fields[1] not in (b"stdout", b"stderr"):
            return None
        try:
            time_ns = self._times.parse(fields[0])
        except ValueError:
            return None
        stream, final, text = fields[1].decode(), fields[2].startswith(b"F"), fields[3]
        partial = self._parts.get(stream)
        if final and partial is None:
            return LogEntry(time_ns, stream, text + b"\n")
        if partial is None:
            partial = self._parts[stream] = (time_ns, bytearray())
        first_time_ns, data = partial
        data.extend(text)
        if final:
            data.extend(b"\n")
        if final or len(data) >= ENTRY_LIMIT_BYTES:
            del self._parts[stream]
            return LogEntry(first_time_ns, stream, bytes(data))
        return None

    @property
    def unfinished(self) -> bool:
        """Whether an entry lacks its end."""
        return bool(self._parts)

    def flush(self) -> list[LogEntry]:
        """Entries of unfinished lines, without a newline, once the container has ended."""
        rest = [LogEntry(time_ns, stream, bytes(data)) for stream, (time_ns, data) in self._parts.items() if data]
        self._parts.clear()
        return sorted(rest)
