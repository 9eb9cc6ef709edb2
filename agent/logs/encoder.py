"""Encoder of log lines: conmon's lines as clients of the Engine API read them, framed by stream or raw. Pure.

Invariant: a piece of a long line is written as it comes and without a newline of its own; prefixes stand before its first
piece only. Lines of a block are encoded together where all are complete, which most are.
Called by `agent.container.commands.logs`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from agent.logs.reader import LogFilter

_FRAME = struct.Struct(">BxxxI")
_TIME = slice(0, 29)
"""Date, time and nine digits of the fraction."""
_KIND, _TEXT = slice(29, 45), 45
_OUT, _ERR = b"+00:00 stdout F ", b"+00:00 stderr F "
_STREAMS = {b"stdout": 1, b"stderr": 2}


class LogFormat(NamedTuple):
    """`framed` puts a header that names the stream before each line; `details` is the text before it, "" for none."""

    framed: bool = True
    timestamps: bool = False
    details: str = ""


class _Line(NamedTuple):
    """One line of a log file, with its time in UTC as in a log of `docker logs --timestamps`."""

    time: bytes
    stream: int
    final: bool
    text: bytes


class LogEncoder:
    """Encodes the blocks of one log in turn."""

    def __init__(self, log_filter: LogFilter, log_format: LogFormat) -> None:
        self._wanted = {1: log_filter.stdout, 2: log_filter.stderr}
        self._since = _moment(log_filter.since_ns)
        self._until = _moment(log_filter.until_ns)
        self._framed = log_format.framed
        self._timestamps = log_format.timestamps
        self._details = f"{log_format.details} ".encode() if log_format.details else b""
        self._heads = {_OUT: _Headers(1), _ERR: _Headers(2)}
        self._open = {1: False, 2: False}
        self._skip = 0
        self._skipping = {1: False, 2: False}
        self.finished = False
        """Whether a line after the filter's end was met, so that nothing more can come."""

    def encode(self, data: bytes, skip: int = 0) -> bytes:
        """The complete lines of `data` for the client, without the first `skip` entries."""
        lines = data.split(b"\n")
        lines.pop()
        self._skip += skip
        amid = self._skip or any(self._open.values()) or any(self._skipping.values())
        if lines and not amid and {line[_KIND] for line in lines} <= self._heads.keys() and self._covers(lines):
            return self._encode_complete(lines)
        return b"".join(self._encode_each(lines))

    def _covers(self, lines: list[bytes]) -> bool:
        """Whether every line is within the time bounds. Lines are in the order of time, up to a change of the clock."""
        if self._since and min(line[_TIME] for line in lines) < self._since:
            return False
        return not self._until or max(line[_TIME] for line in lines) <= self._until

    def _encode_complete(self, lines: list[bytes]) -> bytes:
        """Complete lines in UTC, of one stream or of both."""
        if not (self._wanted[1] and self._wanted[2]):
            kind = _OUT if self._wanted[1] else _ERR
            lines = [line for line in lines if line[_KIND] == kind]
        details, heads = self._details, self._heads
        if self._timestamps:
            texts = [line[:29] + b"Z " + details + line[45:] + b"\n" for line in lines]
        elif details:
            texts = [details + line[45:] + b"\n" for line in lines]
        elif self._framed:
            return b"".join([heads[line[29:45]][len(line) - 44] + line[45:] + b"\n" for line in lines])
        else:
            texts = [line[45:] + b"\n" for line in lines]
        if self._framed:
            texts = [heads[line[29:45]][len(text)] + text for line, text in zip(lines, texts, strict=True)]
        return b"".join(texts)

    def _encode_each(self, lines: list[bytes]) -> Iterator[bytes]:
        for line in _parsed(lines):
            stream = line.stream
            if not self._wanted[stream]:
                continue
            if self._skip or self._skipping[stream]:
                self._skip -= not self._skipping[stream]
                self._skipping[stream] = not line.final
                continue
            if self._until and line.time > self._until:
                self.finished = True
                return
            if line.time < self._since:
                continue
            yield self._encode_one(line)

    def _encode_one(self, line: _Line) -> bytes:
        text = line.text + b"\n" if line.final else line.text
        if not self._open[line.stream]:
            text = (line.time + b"Z " if self._timestamps else b"") + self._details + text
        self._open[line.stream] = not line.final
        return _FRAME.pack(line.stream, len(text)) + text if self._framed else text


class _Headers(dict[int, bytes]):
    """Frame headers of one stream by the length of the text. Bounded by the length of a line."""

    def __init__(self, stream: int) -> None:
        super().__init__()
        self._stream = stream

    def __missing__(self, length: int) -> bytes:
        head = _FRAME.pack(self._stream, length)
        if length < 1 << 14:
            self[length] = head
        return head


def _parsed(lines: list[bytes]) -> Iterator[_Line]:
    """The lines that are whole; a line that a crash has damaged is left out."""
    for line in lines:
        fields = line.split(b" ", 3)
        if len(fields) == 4 and fields[1] in _STREAMS and fields[0][19:20] == b".":
            yield _Line(_utc(fields[0]), _STREAMS[fields[1]], fields[2].startswith(b"F"), fields[3])


def _utc(time: bytes) -> bytes:
    """A time of conmon's in UTC. Earlier versions wrote the host's zone."""
    if time[29:] == b"+00:00":
        return time[_TIME]
    try:
        second = datetime.fromisoformat((time[:19] + time[29:]).decode()).astimezone(UTC)
    except ValueError:
        return time[_TIME]
    return second.strftime("%Y-%m-%dT%H:%M:%S").encode() + time[19:29]


def _moment(time_ns: int) -> bytes:
    """A bound as the text that it is compared with; empty for none."""
    if time_ns <= 0:
        return b""
    second, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(second, UTC).strftime('%Y-%m-%dT%H:%M:%S')}.{rest:09d}".encode()
