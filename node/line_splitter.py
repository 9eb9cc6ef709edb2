"""Line splitter for a process's output. Lines longer than 64 KiB are truncated, so memory stays bounded.

Called by ``node.manager_process``.
"""

import asyncio
from collections.abc import AsyncIterator

MAX_LINE_BYTES = 64 << 10
_CHUNK_BYTES = 64 << 10
TRUNCATED_SUFFIX = b" ... (truncated)"


class LineSplitter:
    """Turns chunks of bytes into lines without line ends. Pure."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._is_truncated = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that end in this chunk."""
        *ended, rest = chunk.split(b"\n")
        lines = []
        for part in ended:
            self._append(part)
            lines.append(self._take())
        self._append(rest)
        return lines

    def flush(self) -> list[bytes]:
        """The last line, if it has no line end."""
        return [self._take()] if self._line else []

    def _append(self, part: bytes) -> None:
        room = MAX_LINE_BYTES - len(self._line)
        self._line += part[:room]
        self._is_truncated = self._is_truncated or len(part) > room

    def _take(self) -> bytes:
        line = bytes(self._line) + (TRUNCATED_SUFFIX if self._is_truncated else b"")
        self._line.clear()
        self._is_truncated = False
        return line


async def read_lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream until its end."""
    splitter = LineSplitter()
    while chunk := await reader.read(_CHUNK_BYTES):
        for line in splitter.feed(chunk):
            yield line
    for line in splitter.flush():
        yield line
