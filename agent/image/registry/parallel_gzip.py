"""Gzip compression of a layer on several cores.

The input is cut into segments of 1 MiB. Each becomes deflate blocks that end on a byte boundary, so that threads compress
segments at the same time (zlib releases the interpreter's lock) and their results are written one after the other as one
gzip member. Each segment gets the end of the segment before as its dictionary, so the result is not larger than that of one
stream.

A segment that a sample shows to be incompressible (archives, media and compressed files in a layer) is stored as it is:
deflate would need longest for what gains nothing.

Invariant: equal input gives equal bytes, whatever the number of threads. Called by `compress_worker`.
"""

import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

SEGMENT_BYTES = 1 << 20
LEVEL = 4
"""Layers are compressed once and sent often, but the user waits for the first push."""
THREAD_LIMIT = 4
_WINDOW_BYTES = 32 << 10
_SAMPLE_BYTES = 4 << 10
_SAMPLE_STEP_BYTES = 64 << 10
_SAMPLE_LEVEL = 1
_WORTHWHILE = 0.98
"""A sample that keeps more than this share of its size counts as incompressible."""
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""No name, no time, unknown system."""
_LAST_BLOCK = b"\x03\x00"
_TRAILER = struct.Struct("<II")


def compressed(source: BinaryIO, threads: int | None = None) -> Iterator[bytes]:
    """The gzip form of the source, in pieces. At most `threads` + 2 segments are in memory."""
    count = threads or min(os.cpu_count() or 1, THREAD_LIMIT)
    checksum, size, before = 0, 0, b""
    waiting: deque[Future[bytes]] = deque()
    yield _HEADER
    with ThreadPoolExecutor(count) as pool:
        while segment := source.read(SEGMENT_BYTES):
            waiting.append(pool.submit(_deflated, segment, before))
            checksum, size, before = zlib.crc32(segment, checksum), size + len(segment), segment[-_WINDOW_BYTES:]
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    yield _LAST_BLOCK + _TRAILER.pack(checksum, size & 0xFFFFFFFF)


def _deflated(segment: bytes, before: bytes) -> bytes:
    level = LEVEL if _is_compressible(segment) else 0
    compressor = zlib.compressobj(level, wbits=-zlib.MAX_WBITS, zdict=before)
    return compressor.compress(segment) + compressor.flush(zlib.Z_SYNC_FLUSH)


def _is_compressible(segment: bytes) -> bool:
    sample = b"".join(segment[at : at + _SAMPLE_BYTES] for at in range(0, len(segment), _SAMPLE_STEP_BYTES))
    return len(zlib.compress(sample, _SAMPLE_LEVEL)) < len(sample) * _WORTHWHILE
