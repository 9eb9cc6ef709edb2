"""Parallel simulation runs in worker processes, and their totals.

Called by `test_raft_simulation` for a number of steps and by `soak` for a time. A failed run is reported with the command
that repeats it and with the smallest set of hazards that still fails under the same seed.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count

import msgspec

from tests.simulation.simulator.fault_rates import HAZARDS
from tests.simulation.simulator.raft_invariants import InvariantViolatedError
from tests.simulation.simulator.raft_simulation import RaftSimulation

SIZES = (3, 5, 7)


class RunFailure(msgspec.Struct, frozen=True):
    """A violated invariant with the command that repeats it; `fewest` is the failure with the fewest hazards, after `steps` steps."""

    invariant: str
    report: str
    fewest: str
    steps: int


class RunResult(msgspec.Struct, frozen=True):
    seed: int
    nodes: int
    steps: int
    committed: int
    acknowledged: int
    reads: int
    leaders: int
    memberships: int
    failure: RunFailure | None


class RunTotals(msgspec.Struct):
    """The sum of many results."""

    runs: int = 0
    steps: int = 0
    committed: int = 0
    acknowledged: int = 0
    reads: int = 0
    leaders: int = 0
    memberships: int = 0
    seconds: float = 0.0
    failures: list[RunResult] = []

    def add(self, result: RunResult) -> None:
        self.runs += 1
        for name in ("steps", "committed", "acknowledged", "reads", "leaders", "memberships"):
            setattr(self, name, getattr(self, name) + getattr(result, name))
        if result.failure:
            self.failures.append(result)

    def __str__(self) -> str:
        return (
            f"{self.steps:,} steps in {self.runs:,} runs, {self.seconds:.0f} s: {self.committed:,} entries committed, "
            f"{self.acknowledged:,} writes acknowledged, {self.reads:,} reads, {self.leaders:,} leaders, "
            f"{self.memberships:,} memberships, {len(self.failures)} failures"
        )


def run_simulation(seed: int, nodes: int) -> RunResult:
    """One simulation, in this process."""
    simulation = RaftSimulation(seed, nodes)
    failure = None
    try:
        simulation.run()
    except InvariantViolatedError as error:
        failure = minimize_hazards(seed, nodes, RunFailure(error.invariant, str(error), str(error), simulation.steps))
    invariants = simulation.invariants
    return RunResult(
        seed,
        nodes,
        simulation.steps,
        invariants.max_committed,
        len(invariants.acknowledged),
        invariants.reads,
        len(invariants.leaders),
        len(set(invariants.confs.values())) - 1,
        failure,
    )


def minimize_hazards(seed: int, nodes: int, failure: RunFailure) -> RunFailure:
    """Leaves out one hazard after the other as long as an invariant is still violated."""
    without: tuple[str, ...] = ()
    for hazard in HAZARDS:
        simulation = RaftSimulation(seed, nodes, without=(*without, hazard))
        try:
            simulation.run()
        except InvariantViolatedError as error:
            without = (*without, hazard)
            failure = RunFailure(failure.invariant, failure.report, str(error), simulation.steps)
    return failure


def run_many(
    enough: Callable[[RunTotals], bool],
    *,
    first_seed: int = 0,
    workers: int = 2,
    on_result: Callable[[RunResult], None] | None = None,
) -> RunTotals:
    """Runs simulations of 3, 5 and 7 managers, seed after seed, until there are enough."""
    total, began = RunTotals(), time.monotonic()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn) as pool:
        runs = ((seed, nodes) for seed in count(first_seed) for nodes in SIZES)
        for result in _results(pool, runs, lambda: enough(total), ahead=2 * workers):
            total.add(result)
            total.seconds = time.monotonic() - began
            if on_result:
                on_result(result)
    return total


def _results(
    pool: ProcessPoolExecutor, runs: Iterator[tuple[int, int]], enough: Callable[[], bool], ahead: int
) -> Iterator[RunResult]:
    running: set[Future[RunResult]] = set()
    while running or not enough():
        while len(running) < ahead and not enough():
            running.add(pool.submit(run_simulation, *next(runs)))
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()
