"""Cluster simulation under faults, one test per seed; every seed that ever failed stays in ``KEPT``."""

import os

import pytest

from tests.simulation.simulator.cluster_simulation import ClusterSimulation

KEPT: tuple[int, ...] = ()
FIRST, COUNT, STEPS = int(os.environ.get("WORLD_SEED", "0")), int(os.environ.get("WORLD_SEEDS", "25")), 800


@pytest.mark.parametrize("seed", [*KEPT, *range(FIRST, FIRST + COUNT)])
async def test_a_cluster_under_faults_keeps_its_invariants_and_reaches_the_desired_state(seed: int) -> None:
    world = ClusterSimulation(seed)
    await world.begin()
    for _ in range(STEPS):
        await world.step()
    await world.settle()
