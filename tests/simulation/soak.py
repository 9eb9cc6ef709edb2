"""Soak run of the Raft simulation with fresh seeds: `python -m tests.simulation.soak --minutes 30 --json FILE`.

The first seed comes from the clock, so no two soaks are the same. Each failure is printed with the command that
repeats it. The exit code is 1 if an invariant was violated.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import msgspec

from tests.simulation.simulator.parallel_runs import RunResult, RunTotals, run_many


def _print_failure(result: RunResult) -> None:
    if result.failure:
        print(f"seed {result.seed}, {result.nodes} managers: {result.failure.report}", flush=True)
        print(f"with the fewest hazards, after {result.failure.steps} steps: {result.failure.fewest}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the Raft simulation over fresh seeds.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--first-seed", type=int, default=int(time.time()) % 10**9, help="the first seed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file for the totals")
    args = parser.parse_args()
    deadline = time.monotonic() + args.minutes * 60

    def enough(total: RunTotals) -> bool:
        return time.monotonic() >= deadline or len(total.failures) >= 20

    total = run_many(enough, first_seed=args.first_seed, workers=args.workers, on_result=_print_failure)
    print(f"from seed {args.first_seed}: {total}")
    if args.json:
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode({"first_seed": args.first_seed, "total": total})))
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
