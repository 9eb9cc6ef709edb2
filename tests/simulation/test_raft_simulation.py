"""Raft simulation of three, five and seven managers with their stores: one million steps, invariants checked after each.

More steps: `SIMULATED_STEPS=20000000 pytest tests/simulation/test_raft_simulation.py -s`, or `python -m tests.simulation.soak`.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.simulator.parallel_runs import run_many
from tests.simulation.simulator.raft_simulation import RaftSimulation

STEPS = int(os.environ.get("SIMULATED_STEPS", "1000000"))


@pytest.mark.timeout(900)
def test_every_invariant_holds_after_each_of_a_million_steps(capsys: pytest.CaptureFixture[str]) -> None:
    """Covers elections, logs, disks, memberships, stores, acknowledgements and reads; the cluster works again without faults."""
    total = run_many(lambda total: total.steps >= STEPS or len(total.failures) >= 3)
    with capsys.disabled():
        print(f"\n{total}")
    stories = [f"{o.failure.report}\nwith the fewest hazards: {o.failure.fewest}" for o in total.failures if o.failure]
    assert not stories, "\n\n".join(stories)
    assert min(total.acknowledged, total.reads) > 1000 < 3 * min(total.memberships, total.leaders), total


def test_a_seed_repeats_its_run() -> None:
    first, second = (RaftSimulation(11, 5).run() for _ in range(2))
    assert (first.steps, first.invariants.committed, first.invariants.leaders, first.invariants.acknowledged) == (
        second.steps,
        second.invariants.committed,
        second.invariants.leaders,
        second.invariants.acknowledged,
    )
