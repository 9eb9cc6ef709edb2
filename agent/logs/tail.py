"""Tail of a log: the position of the last N entries, found by reading backwards from the end.

Invariant: only the end of the log is read; `agent.logs.reader` then reads forward from the position. The result is exact
unless a line's parts are more than 1 MiB of the other stream's lines apart.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

CHUNK_BYTES = 64 << 10
_LOOK_BACK_BYTES = 1 << 20


class TailPosition(NamedTuple):
    """Read from file number `file` at `offset`, and skip the first `skip` entries that match."""

    file: int
    offset: int
    skip: int


def find_tail(files: Sequence[int], count: int, streams: frozenset[bytes]) -> TailPosition:
    """The position of the last `count` entries of `streams`. `files` are open descriptors, the oldest file first."""
    if count == 0:
        last = len(files) - 1
        return TailPosition(last, os.fstat(files[last]).st_size, 0)
    found, passed = 0, 0
    open_heads: set[bytes] = set()  # streams whose oldest counted entry may begin further back
    seen: set[bytes] = set()
    best = TailPosition(len(files) - 1, os.fstat(files[-1]).st_size, 0)
    for file in reversed(range(len(files))):
        for offset, line in _backwards(files[file]):
            fields = line.split(b" ", 3)
            if len(fields) < 4 or fields[1] not in streams:
                continue
            stream = fields[1]
            if fields[2].startswith(b"F") or stream not in seen:
                if found >= count:
                    open_heads.discard(stream)
                else:
                    open_heads.add(stream)
                found += 1
            seen.add(stream)
            if found > count:
                passed += len(line)
                if not open_heads or passed > _LOOK_BACK_BYTES:
                    return best._replace(skip=found - 1 - count)
            best = TailPosition(file, offset, max(0, found - count))
    return best


def _backwards(fd: int) -> Iterator[tuple[int, bytes]]:
    """Complete lines with their offsets, the last one first. Text after the last newline is not a line yet."""
    position = os.fstat(fd).st_size
    rest, whole = b"", False
    while position > 0:
        size = min(CHUNK_BYTES, position)
        position -= size
        data = os.pread(fd, size, position)
        pieces = (data + rest).split(b"\n")
        offset = position + len(data) + len(rest)
        for piece in reversed(pieces[1:]):
            offset -= len(piece)
            if whole:
                yield offset, piece
            whole = True
            offset -= 1
        rest = pieces[0]
    if whole and rest:
        yield 0, rest
