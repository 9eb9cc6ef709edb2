"""Encoding of log lines for clients: frames, prefixes, pieces of long lines, time bounds."""

from __future__ import annotations

import struct

import pytest

from agent.logs.encoder import LogEncoder, LogFormat
from agent.logs.reader import LogFilter


def line(number: int, text: str, stream: str = "stdout", tag: str = "F", zone: str = "+00:00") -> bytes:
    return f"2026-01-02T03:04:05.{number:09}{zone} {stream} {tag} {text}\n".encode()


def frame(stream: int, text: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(text)) + text


def encode(data: bytes, log_format: LogFormat, skip: int = 0, **wanted: object) -> bytes:
    return LogEncoder(LogFilter(**wanted), log_format).encode(data, skip)  # type: ignore[arg-type] # free keywords


MIXED = line(1, "one") + line(2, "two", "stderr") + line(3, "") + line(4, "four")


def test_each_line_is_a_frame_of_its_stream() -> None:
    assert encode(MIXED, LogFormat()) == b"".join(
        [frame(1, b"one\n"), frame(2, b"two\n"), frame(1, b"\n"), frame(1, b"four\n")]
    )
    assert encode(MIXED, LogFormat(framed=False)) == b"one\ntwo\n\nfour\n"


@pytest.mark.parametrize(("timestamps", "details"), [(False, ""), (True, ""), (False, "a=b"), (True, "a=b")])
@pytest.mark.parametrize("framed", [False, True])
def test_lines_of_one_kind_are_encoded_as_each_by_itself(timestamps: bool, details: str, framed: bool) -> None:
    lines = [line(n, "x" * n, "stderr") for n in range(50)]
    log_format = LogFormat(framed, timestamps, details)
    together = encode(b"".join(lines), log_format)
    odd = encode(b"".join(lines) + line(99, "", "stdout"), log_format, stdout=False)
    assert together == odd
    assert together == b"".join(encode(one, log_format) for one in lines)


def test_prefixes_are_time_then_details() -> None:
    log_format = LogFormat(framed=False, timestamps=True, details="a=b,c=d")
    assert encode(line(7, "hi"), log_format) == b"2026-01-02T03:04:05.000000007Z a=b,c=d hi\n"


def test_a_time_of_another_zone_is_shown_in_utc() -> None:
    log_format = LogFormat(framed=False, timestamps=True)
    assert encode(line(7, "hi", zone="+02:00"), log_format) == b"2026-01-02T01:04:05.000000007Z hi\n"


def test_pieces_of_a_long_line_have_one_prefix_and_one_newline_across_blocks() -> None:
    encoder = LogEncoder(LogFilter(), LogFormat(framed=False, timestamps=True))
    out = encoder.encode(line(1, "aa", tag="P"), 0) + encoder.encode(line(2, "bb", tag="P") + line(3, "cc"), 0)
    assert out + encoder.encode(line(4, "next"), 0) == (
        b"2026-01-02T03:04:05.000000001Z aabbcc\n2026-01-02T03:04:05.000000004Z next\n"
    )


def test_the_unwanted_stream_is_left_out_also_when_a_block_has_no_other() -> None:
    assert encode(MIXED, LogFormat(framed=False), stdout=False) == b"two\n"
    assert encode(line(1, "one"), LogFormat(), stdout=False) == b""


def test_entries_before_the_tail_are_skipped_with_all_their_pieces() -> None:
    data = line(1, "a", tag="P") + line(2, "x", "stderr") + line(3, "b") + line(4, "last")
    assert encode(data, LogFormat(framed=False), 2) == b"last\n"
    encoder = LogEncoder(LogFilter(), LogFormat(framed=False))
    assert encoder.encode(line(1, "a"), 2) == b""
    assert encoder.encode(line(2, "b") + line(3, "c"), 0) == b"c\n"


def test_time_bounds_are_exact_to_the_nanosecond() -> None:
    second = 1767323045_000000000
    lines = b"".join(line(n, str(n)) for n in range(5))
    encoder = LogEncoder(LogFilter(since_ns=second + 1, until_ns=second + 3), LogFormat(framed=False))
    assert encoder.encode(lines, 0) == b"1\n2\n3\n"
    assert encoder.finished
    assert encode(lines, LogFormat(framed=False), since_ns=second + 3) == b"3\n4\n"


def test_damaged_lines_are_left_out() -> None:
    assert encode(b"dam age\n\n" + line(1, "ok") + b"x stdout F y\n", LogFormat(framed=False)) == b"ok\n"
