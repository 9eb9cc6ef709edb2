"""Line splitter for a process's output. Lines longer than 64 KiB are truncated, so memory stays bounded.

Called by ``node.manager_process``.
"""

import asyncio
from collections.abc import AsyncIterator

MAX_LINE_BYTES = 64 << 10
_PIECE_BYTES = 64 << 10
TRUNCATED_SUFFIX = b" ... (cut)"


class LineSplitter:
    """Pieces to lines, without what ends them. Pure."""

    def __init__(self) -> None:
        self._begun = bytearray()
        self._long = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that end in this piece."""
        *ended, rest = piece.split(b"\n")
        lines = []
        for part in ended:
            self._add(part)
            lines.append(self._take())
        self._add(rest)
        return lines

    def flush(self) -> list[bytes]:
        """What was begun and has no end."""
        return [self._take()] if self._begun else []

    def _add(self, part: bytes) -> None:
        room = MAX_LINE_BYTES - len(self._begun)
        self._begun += part[:room]
        self._long = self._long or len(part) > room

    def _take(self) -> bytes:
        line = bytes(self._begun) + (TRUNCATED_SUFFIX if self._long else b"")
        self._begun.clear()
        self._long = False
        return line


async def read_lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """To the end of the output."""
    lines = LineSplitter()
    while piece := await reader.read(_PIECE_BYTES):
        for line in lines.feed(piece):
            yield line
    for line in lines.flush():
        yield line
