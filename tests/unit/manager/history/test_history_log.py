"""The bounded memory of a manager: order, bounds for each service and in all, readers that follow and that lag."""

from __future__ import annotations

import asyncio

import pytest

from covey.errors import LaggedError
from covey.objects import HistoryEntry
from manager.history.log import QUEUE, HistoryLog


def entry(version: int, service: str = "", kind: str = "service") -> HistoryEntry:
    return HistoryEntry(version=version, number=1, timestamp_ns=version * 10, kind=kind, service_id=service)


def filled(log: HistoryLog, *entries: HistoryEntry) -> HistoryLog:
    for item in entries:
        log.add(item.version, [item])
    return log


def versions(log: HistoryLog, **where: int) -> list[int]:
    return [item.version for item in log.entries(**where)]  # type: ignore[arg-type]


def test_a_service_in_a_crash_loop_pushes_out_only_its_own_entries() -> None:
    log = filled(HistoryLog(max_per_subject=3), entry(1, "quiet"), *(entry(number, "loop") for number in range(2, 20)))
    assert versions(log) == [1, 17, 18, 19]


def test_the_oldest_entry_goes_when_all_are_too_many() -> None:
    log = filled(HistoryLog(max_entries=4), *(entry(number, f"s{number}") for number in range(1, 9)))
    assert versions(log) == [5, 6, 7, 8]


def test_entries_since_a_time_are_in_order() -> None:
    log = filled(HistoryLog(), entry(1, "b"), entry(2, "a"), entry(3, kind="node"), entry(4, "b"))
    assert versions(log, since_ns=20) == [2, 3, 4]


async def test_a_reader_gets_what_it_missed_and_what_comes_without_overlap() -> None:
    log = filled(HistoryLog(), entry(1, "a"), entry(2, "a"))
    with log.follow((1, 1)) as reading:
        filled(log, entry(3, "b"))
        assert [(await anext(reading)).version for _ in range(2)] == [2, 3]


async def test_a_reader_that_knows_more_than_a_new_leader_gets_nothing_twice() -> None:
    """The leader changed, and the next one is still behind what its predecessor has told."""
    log = filled(HistoryLog(), entry(1, "a"))
    with log.follow((3, 1)) as reading:
        filled(log, entry(2, "a"), entry(3, "a"), entry(4, "a"))
        async with asyncio.timeout(1):
            assert (await anext(reading)).version == 4


async def test_a_reader_that_lags_is_told_so() -> None:
    log = HistoryLog(max_per_subject=10)
    with log.follow() as reading:
        filled(log, *(entry(number, "a") for number in range(1, QUEUE + 2)))
        with pytest.raises(LaggedError):
            async for _ in reading:
                pass
