"""A simulation that cannot fail proves nothing: each planted bug is caught, and the same weather without it is not."""

from __future__ import annotations

import pytest

from tests.simulation.raft_bugs import PLANTED, Planted
from tests.simulation.raft_laws import LawBrokenError
from tests.simulation.raft_world import World

SEEDS = 60
"""At most so many worlds of about 20 ms; most bugs need one or two, figure 8 of the paper about ten."""


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.bug.__name__)
def test_the_simulation_catches(planted: Planted) -> None:
    for seed in range(SEEDS):
        try:
            planted.bug(seed, planted.size, planted.weather).run(4000)
        except LawBrokenError as error:
            broken = str(error)
            break
    else:
        pytest.fail(f"{planted.bug.__name__} lived through {SEEDS} worlds")
    assert any(law in broken for law in planted.laws), broken
    World(seed, planted.size, planted.weather).run(4000)
