"""Rotation of log files: numbers, bound, compression, and following through it."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from agent.logs import files, reader, rotation


def line(number: int) -> bytes:
    return f"2026-01-02T03:04:05.{number:09}+00:00 stdout F {number}\n".encode()


def log_of(path: Path, max_files: int = 3, *, compress: bool = False) -> rotation.RunningLog:
    return rotation.RunningLog(path, path.parent, 10, max_files, compress)


async def numbers(path: Path, tail: int | None = None) -> list[int]:
    return [int(entry.data) async for entry in reader.read(path, reader.LogFilter(tail))]


@pytest.mark.parametrize("compress", [False, True])
async def test_the_newest_files_are_kept_and_read_in_order(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "log"
    for number in range(6):
        path.write_bytes(line(number))
        rotation.compress_older(log_of(path, compress=compress))
        assert rotation.rotate(log_of(path, compress=compress))
    path.write_bytes(line(6))
    rotation.compress_older(log_of(path, compress=compress))
    suffix = ".gz" if compress else ""
    assert {p.name for p in tmp_path.iterdir()} - {"kept-log"} == {"log", f"log.1{suffix}", f"log.2{suffix}"}
    assert await numbers(path) == [4, 5, 6]
    assert await numbers(path, tail=2) == [5, 6]


def test_a_small_log_and_one_without_a_bound_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert not rotation.rotate(log_of(path))
    path.write_bytes(b"x")
    assert not rotation.rotate(log_of(path))
    path.write_bytes(line(1))
    assert not rotation.rotate(log_of(path)._replace(max_bytes=0))
    assert not rotation.rotate(log_of(path, max_files=1))
    assert {p.name for p in tmp_path.iterdir()} <= {"log", "kept-log"}


async def test_what_conmon_replaced_before_the_exit_stays_without_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch()
    rotator = rotation.LogRotator(lambda: ())
    await rotator.begin(log_of(path))
    for number in (1, 2):
        replacement = tmp_path / "log.tmp"
        with path.open("ab") as current:
            current.write(line(number))
        if number == 1:
            replacement.touch()
            replacement.rename(path)
    await rotator.end(log_of(path))
    assert await numbers(path) == [1, 2]
    assert {p.name for p in tmp_path.iterdir()} == {"log", "log.1"}
    await rotator.end(log_of(path))
    assert await numbers(path) == [1, 2]


async def test_a_slow_follower_reads_files_that_were_rotated_twice_meanwhile(tmp_path: Path) -> None:
    path, changed, ended = tmp_path / "log", asyncio.Event(), [False]
    path.write_bytes(line(0))
    signals = reader.FollowSignals(changed, lambda: ended[0])
    seen = []
    async with asyncio.timeout(10), contextlib.aclosing(reader.read(path, reader.LogFilter(), signals)) as entries:
        async for entry in entries:
            seen.append(int(entry.data))
            if seen == [0]:
                for number in (1, 2):
                    with path.open("ab") as current:
                        current.write(line(10 * number))
                    rotation.rotate(log_of(path))
                    path.write_bytes(line(number))
                changed.set()
            ended[0] = seen[-1] == 2
            changed.set()
    assert seen == [0, 10, 1, 20, 2]


async def test_a_followed_log_ends_at_its_time_bound(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(line(0))
    signals = reader.FollowSignals(asyncio.Event(), lambda: False)
    until_ns = 1767323045_000000001
    async with asyncio.timeout(10):
        assert len([e async for e in reader.read(path, reader.LogFilter(until_ns=until_ns), signals)]) == 1


def test_a_log_is_looked_at_more_often_the_faster_it_grows() -> None:
    look = rotation.seconds_until_next_look
    assert look(0, 0, 2.0, 100) == 2.0
    assert look(50, 50, 1.0, 100) == 0.5
    assert look(99, 99, 1.0, 100) == 0.05
    assert look(10, -5, 1.0, 100) == 2.0


@pytest.mark.parametrize(
    ("size", "count", "limit"),
    [(0, 1, 0), (100_000, 1, 100_000), (100_000, 3, 16 << 20), (10 << 20, 3, 30 << 20), (1, 1, 4096)],
)
def test_conmon_alone_bounds_a_log_while_no_daemon_runs(size: int, count: int, limit: int) -> None:
    assert rotation.conmon_log_limit(size, count) == limit


def test_an_older_file_is_found_under_its_number(tmp_path: Path) -> None:
    for name in ("log.10", "log.2.gz", "log.1", "log.x", "log", "other.1"):
        (tmp_path / name).touch()
    assert [number for number, _ in files.older_files(tmp_path / "log")] == [10, 2, 1]


async def test_a_file_that_conmon_replaced_by_itself_is_numbered(tmp_path: Path) -> None:
    """Conmon counts the bytes since its start, so it may begin its file again at any time."""
    path = tmp_path / "log"
    log = log_of(path, max_files=4)._replace(max_bytes=1000)
    path.write_bytes(line(1))
    assert not rotation.rotate(log)
    for number in (2, 3):
        fresh = tmp_path / "fresh"
        fresh.write_bytes(line(number))
        fresh.rename(path)
        assert rotation.rotate(log)
    assert await numbers(path) == [1, 2, 3]
