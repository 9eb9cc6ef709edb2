"""200 rounds of kill -9 of random managers under load: not one acknowledged write is lost, and none takes effect twice.

The seed is printed; ``COVEY_TEST_SEED`` repeats the choices (not the scheduling of the processes).
"""

import os
import secrets
from pathlib import Path

import pytest

from tests.chaos.kills import Ledger, Rounds, Wrote, kill_rounds
from tests.integration.kill_groups import manager_group, member_group

MEMBER_ROUNDS = 160
MANAGER_ROUNDS = 40
SEED = int(os.environ.get("COVEY_TEST_SEED", str(secrets.randbelow(1 << 32))))


def hold(result: Rounds, rounds: int) -> None:
    assert (result.lost, result.twice) == ([], [])
    assert result.rounds == rounds
    assert result.acknowledged > 5 * rounds, "too little was written to mean something"


@pytest.mark.timeout(900)
async def test_no_acknowledged_write_is_lost_while_members_of_the_group_are_killed(tmp_path: Path) -> None:
    async with member_group(tmp_path) as group:
        hold(await kill_rounds(group, seed=SEED, rounds=MEMBER_ROUNDS), MEMBER_ROUNDS)


@pytest.mark.timeout(600)
async def test_no_acknowledged_write_is_lost_while_managers_are_killed() -> None:
    async with manager_group() as group:
        hold(await kill_rounds(group, seed=SEED, rounds=MANAGER_ROUNDS), MANAGER_ROUNDS)


def test_the_ledger_tells_what_is_lost_from_what_was_never_promised() -> None:
    ledger = Ledger()
    for key, wrote in (
        ("a", Wrote.DONE),
        ("b", Wrote.UNKNOWN),
        ("c", Wrote.NOTHING),
        ("n", Wrote.DONE),
        ("n", Wrote.UNKNOWN),
    ):
        ledger.note(key, wrote)
    assert ledger.lost({"a": 1, "n": 1}) == ledger.twice({"a": 1, "n": 1}) == []
    assert ledger.lost({"b": 1}) == ["a", "n"]
    assert ledger.twice({"a": 2, "b": 1, "c": 1, "n": 2, "x": 1}) == ["a", "c", "x"]
    assert ledger.twice({"n": 3}) == ["n"]
