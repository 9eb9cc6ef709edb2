"""A simulation that cannot fail proves nothing: each planted bug is caught, and the same seed without it passes."""

from __future__ import annotations

import pytest

from tests.simulation.raft_bugs import BUGS, Bug, planted
from tests.simulation.raft_laws import LawBrokenError
from tests.simulation.raft_world import World

SEEDS = 60
"""At most so many worlds of about 0.1 s; most bugs need one or two, figure 8 of the paper about ten."""
DURATION = 4000


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "_"))
def test_the_simulation_catches(bug: Bug, capsys: pytest.CaptureFixture[str]) -> None:
    with planted(bug):
        seed, broken = _first_failure(bug)
    with capsys.disabled():
        print(f"\n{bug.name}: seed {seed}, {broken.law}", end="")
    assert broken.law in bug.laws, broken
    World(seed, bug.size, bug.weather).run(DURATION)


def _first_failure(bug: Bug) -> tuple[int, LawBrokenError]:
    for seed in range(SEEDS):
        try:
            World(seed, bug.size, bug.weather).run(DURATION)
        except LawBrokenError as error:
            return seed, error
    return pytest.fail(f"{bug.name}: it lived through {SEEDS} worlds")
