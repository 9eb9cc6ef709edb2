"""220 rounds of kill -9 of random managers under load: no acknowledged write is lost, and none takes effect twice.

The seed is printed. ``COVEY_TEST_SEED`` repeats the choices, not the scheduling of the processes.
"""

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.kills import Ledger, Rounds, WriteOutcome, kill_rounds
from tests.support.kill_groups import etcd_manager_group, manager_group, raft_member_group

MEMBER_ROUNDS = 160
MANAGER_ROUNDS = 40
ETCD_ROUNDS = 20
SEED = int(os.environ.get("COVEY_TEST_SEED", "1"))


def assert_nothing_lost(result: Rounds, rounds: int) -> None:
    assert (result.lost, result.twice) == ([], [])
    assert result.rounds == rounds
    assert result.acknowledged > 5 * rounds, "too few acknowledged writes for a meaningful check"


@pytest.mark.timeout(900)
async def test_no_acknowledged_write_is_lost_while_raft_members_are_killed(tmp_path: Path) -> None:
    async with raft_member_group(tmp_path) as group:
        assert_nothing_lost(await kill_rounds(group, seed=SEED, rounds=MEMBER_ROUNDS), MEMBER_ROUNDS)


@pytest.mark.timeout(600)
async def test_no_acknowledged_write_is_lost_while_managers_are_killed() -> None:
    async with manager_group() as group:
        assert_nothing_lost(await kill_rounds(group, seed=SEED, rounds=MANAGER_ROUNDS), MANAGER_ROUNDS)


@pytest.mark.timeout(600)
async def test_no_acknowledged_write_is_lost_while_managers_and_etcd_members_are_killed() -> None:
    async with etcd_manager_group(SEED) as group:
        assert_nothing_lost(await kill_rounds(group, seed=SEED, rounds=ETCD_ROUNDS, check_every=10), ETCD_ROUNDS)


class FaultyGroup:
    """One dict for three members. Every kill loses the last write or repeats it."""

    members = ("a", "b", "c")

    def __init__(self, fault: int) -> None:
        self._fault = fault
        self._content: Counter[str] = Counter()
        self._last = ""

    async def kill(self, member: str) -> None:
        self._content[self._last] += self._fault

    async def start(self, member: str) -> None:
        await asyncio.sleep(0)

    async def write(self, member: str, key: str) -> WriteOutcome:
        await asyncio.sleep(0.001)
        self._content[key] += 1
        self._last = key
        return WriteOutcome.DONE

    async def content(self, member: str) -> Counter[str]:
        return self._content


@pytest.mark.parametrize(("fault", "found"), [(0, "nothing"), (-1, "lost"), (1, "twice")])
async def test_kill_rounds_detect_a_lost_and_a_repeated_write(fault: int, found: str) -> None:
    result = await kill_rounds(FaultyGroup(fault), seed=SEED, rounds=4, check_every=2)
    assert {"lost": bool(result.lost), "twice": bool(result.twice)} == {
        "lost": found == "lost",
        "twice": found == "twice",
    }


def test_the_ledger_distinguishes_lost_writes_from_unacknowledged_ones() -> None:
    ledger = Ledger()
    for key, outcome in (
        ("a", WriteOutcome.DONE),
        ("b", WriteOutcome.UNKNOWN),
        ("c", WriteOutcome.NOTHING),
        ("n", WriteOutcome.DONE),
        ("n", WriteOutcome.UNKNOWN),
    ):
        ledger.note(key, outcome)
    assert ledger.lost({"a": 1, "n": 1}) == ledger.twice({"a": 1, "n": 1}) == []
    assert ledger.lost({"b": 1}) == ["a", "n"]
    assert ledger.twice({"a": 2, "b": 1, "c": 1, "n": 2, "x": 1}) == ["a", "c", "x"]
    assert ledger.twice({"n": 3}) == ["n"]
