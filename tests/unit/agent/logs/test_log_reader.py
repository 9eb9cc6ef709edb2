"""Log reader: entries joined from parts, the tail, and rotated files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.logs import files, reader
from agent.logs import tail as tail_of_log
from agent.logs.entry import LogEntry
from agent.logs.k8s_file import ENTRY_LIMIT_BYTES, PartialLineJoiner, TimestampParser


def line(number: int, text: str, stream: str = "stdout", tag: str = "F") -> bytes:
    return f"2026-01-02T03:04:05.{number:09}+00:00 {stream} {tag} {text}".encode()


async def collect(path: Path, **wanted: object) -> list[LogEntry]:
    return [entry async for entry in reader.read(path, reader.LogFilter(**wanted))]


def test_time_stamps_have_a_zone() -> None:
    times = TimestampParser()
    assert times.parse(b"1970-01-01T00:00:01.000000002+00:00") == 1_000_000_002
    assert times.parse(b"1970-01-01T02:00:01.000000003+02:00") == 1_000_000_003
    with pytest.raises(ValueError, match="time"):
        times.parse(b"1970-01-01T00:00:01Z")


def test_parts_are_joined_by_stream_and_damaged_lines_skipped() -> None:
    joiner = PartialLineJoiner()
    fed = [line(1, "a", tag="P"), line(2, "x", "stderr"), b"damage", line(3, "b"), line(4, "rest", tag="P")]
    entries = [e for e in map(joiner.feed, fed) if e]
    assert [(e.stream, e.data) for e in entries] == [("stderr", b"x\n"), ("stdout", b"ab\n")]
    assert [e.data for e in joiner.flush()] == [b"rest"]


def test_an_endless_line_is_returned_in_pieces() -> None:
    joiner = PartialLineJoiner()
    entry = None
    for _ in range(ENTRY_LIMIT_BYTES // 8192):
        assert entry is None
        entry = joiner.feed(line(1, "x" * 8192, tag="P"))
    assert entry is not None
    assert len(entry.data) == ENTRY_LIMIT_BYTES


async def test_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert await collect(tmp_path / "none") == []
    assert await collect(tmp_path / "none", tail=5) == []


async def test_an_empty_line_is_an_entry(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(line(1, "") + b"\n" + line(2, "b") + b"\n")
    assert [e.data for e in await collect(tmp_path / "log", tail=2)] == [b"\n", b"b\n"]


entries = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.integers(0, 2), st.text("ab ", max_size=300)), max_size=60
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries, st.integers(0, 30), st.integers(0, 60), st.booleans(), st.booleans(), st.integers(16, 700))
async def test_the_tail_is_the_end_of_the_whole(
    tmp_path: Path,
    written: list[tuple[str, int, str]],
    tail: int,
    split: int,
    stdout: bool,
    stderr: bool,
    chunk: int,
) -> None:
    """Entries in parts, spread over two files, read in pieces of any size."""
    blobs = []
    for number, (stream, parts, text) in enumerate(written):
        blob = b"".join(line(number, f"part{i}", stream, "P") + b"\n" for i in range(parts))
        blobs.append(blob + line(number, text, stream) + b"\n")
    path = tmp_path / "log"
    files.numbered_path(path, 1).write_bytes(b"".join(blobs[:split]))
    path.write_bytes(b"".join(blobs[split:]))
    before = tail_of_log.CHUNK_BYTES
    tail_of_log.CHUNK_BYTES = chunk
    try:
        whole = await collect(path, stdout=stdout, stderr=stderr)
        expected = [e for e in whole if (e.stream == "stdout" and stdout) or (e.stream == "stderr" and stderr)]
        assert whole == expected
        assert await collect(path, tail=tail, stdout=stdout, stderr=stderr) == (expected[-tail:] if tail else [])
    finally:
        tail_of_log.CHUNK_BYTES = before
    assert len(whole) == sum(1 for stream, _, _ in written if (stdout if stream == "stdout" else stderr))


async def test_a_tail_of_a_big_log_reads_only_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(line(n, f"entry {n}") + b"\n" for n in range(100_000)))
    fd = os.open(path, os.O_RDONLY)
    try:
        begin = tail_of_log.find_tail([fd], 100, frozenset([b"stdout", b"stderr"]))
    finally:
        os.close(fd)
    assert begin.offset > path.stat().st_size - tail_of_log.CHUNK_BYTES
    assert [e.data for e in await collect(path, tail=2)] == [b"entry 99998\n", b"entry 99999\n"]
