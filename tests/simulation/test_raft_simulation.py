"""Many simulated worlds of the Raft core, each with its laws checked after every event.

More of them: `RAFT_SEEDS=5000 pytest tests/simulation/test_raft_simulation.py`.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.raft_world import World

WORLDS = int(os.environ.get("RAFT_SEEDS", "60"))
BATCH = 20


@pytest.mark.parametrize("nodes", [3, 5, 7])
@pytest.mark.parametrize("first", range(0, WORLDS, BATCH))
def test_every_law_holds_in_every_world(first: int, nodes: int) -> None:
    """Election safety, log matching, leader completeness, state machine safety, durable majorities, one membership,
    linearizable reads; and in calm weather the cluster works again."""
    for seed in range(first, min(first + BATCH, WORLDS)):
        world = World(seed, nodes).run(5000)
        assert world.laws.max_committed > 1


def test_a_seed_repeats_its_run() -> None:
    first, second = (World(11, 5).run(3000) for _ in range(2))
    assert (first.events, first.laws.digests, first.laws.leaders) == (
        second.events,
        second.laws.digests,
        second.laws.leaders,
    )
