"""Mutation tests of the Raft simulation: it catches each planted bug, and the same seed passes without the bug."""

from __future__ import annotations

import pytest

from tests.simulation.simulator.raft_invariants import InvariantViolatedError
from tests.simulation.simulator.raft_mutations import MUTATIONS, Mutation, mutated
from tests.simulation.simulator.raft_simulation import RaftSimulation

SEEDS = 60
"""Maximum number of runs of about 0.1 s; most bugs need one or two, figure 8 of the paper about ten."""
DURATION = 4000


@pytest.mark.parametrize("bug", MUTATIONS, ids=lambda bug: bug.name.replace(" ", "_"))
def test_the_simulation_catches(bug: Mutation, capsys: pytest.CaptureFixture[str]) -> None:
    with mutated(bug):
        seed, broken = _first_failure(bug)
    with capsys.disabled():
        print(f"\n{bug.name}: seed {seed}, {broken.invariant}", end="")
    assert broken.invariant in bug.invariants, broken
    RaftSimulation(seed, bug.size, bug.rates).run(DURATION)


def _first_failure(bug: Mutation) -> tuple[int, InvariantViolatedError]:
    for seed in range(SEEDS):
        try:
            RaftSimulation(seed, bug.size, bug.rates).run(DURATION)
        except InvariantViolatedError as error:
            return seed, error
    return pytest.fail(f"{bug.name}: it was not detected in {SEEDS} runs")
