"""Gzip compression of layers on several cores."""

import gzip
import io
import random

import pytest

from agent.image.registry.parallel_gzip import SEGMENT_BYTES, compressed

TEXT = b"".join(b"line %d of a file that compresses well\n" % number for number in range(80_000))
NOISE = random.Random(7).randbytes(2 * SEGMENT_BYTES + 5)  # noqa: S311  not a secret


def pack(data: bytes, threads: int = 2) -> bytes:
    return b"".join(compressed(io.BytesIO(data), threads))


@pytest.mark.parametrize(
    "data", [b"", b"x", TEXT, NOISE, TEXT + NOISE + TEXT, TEXT[:SEGMENT_BYTES], bytes(3 * SEGMENT_BYTES)]
)
def test_the_result_is_one_gzip_member_with_the_same_content(data: bytes) -> None:
    packed = pack(data)
    assert gzip.decompress(packed) == data
    assert packed.count(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff") == 1


def test_the_number_of_threads_changes_no_byte() -> None:
    data = TEXT + NOISE + TEXT
    assert pack(data, 1) == pack(data, 2) == pack(data, 4)


def test_segments_lose_nothing_against_one_stream() -> None:
    assert len(pack(TEXT)) < 1.01 * len(gzip.compress(TEXT, 4))


def test_what_does_not_compress_is_stored() -> None:
    packed = pack(NOISE)
    assert NOISE[: 60 << 10] in packed
    assert len(packed) < 1.001 * len(NOISE)


def test_only_a_few_segments_are_read_ahead() -> None:
    source = io.BytesIO(bytes(40 * SEGMENT_BYTES))
    pieces = compressed(source, 2)
    next(pieces)
    next(pieces)
    assert source.tell() <= 4 * SEGMENT_BYTES
    pieces.close()
