"""``python -m tests.soak --minutes 60``: run simulation, chaos on Raft and etcd, and rounds of kills; then write docs/soak.md.

Exits with 1 if anything failed. The page and ``--folder`` have what is needed to repeat a failure.
"""

import argparse
import asyncio
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.chaos.hosts import Engine, exit_on_sigterm
from tests.chaos.kills import Rounds, kill_rounds
from tests.chaos.run import Result, chaos
from tests.simulation.simulator.parallel_runs import RunTotals, run_many
from tests.soak.page import Part, environment, page
from tests.support.kill_groups import manager_group, raft_member_group

SHARES = {"simulation": 0.25, "raft": 0.35, "etcd": 0.15, "members": 0.15, "managers": 0.10}
RUN_SECONDS = 40.0
LONGEST_FAILURE = 4000
PAGE = Path("docs/soak.md")


def simulation(seconds: float, _folder: Path) -> Part:
    part = Part("Simulation of 3, 5 and 7 managers with stores and disks")
    ends = time.monotonic() + seconds

    def enough(total: RunTotals) -> bool:
        return time.monotonic() >= ends or len(total.failures) >= 5

    total = run_many(enough, first_seed=int(time.time()) % 10**9, workers=os.cpu_count() or 1, on_result=lambda _: None)
    for name in ("runs", "steps", "committed", "acknowledged", "reads", "leaders", "memberships"):
        part.figures[name] = f"{getattr(total, name):,}"
    part.failures = [one.failure.report for one in total.failures if one.failure]
    return part


def on_raft(seconds: float, folder: Path) -> Part:
    return _chaos("Chaos in labs of 3 and 5 managers with every fault", Engine.RAFT, (3, 5), seconds, folder)


def on_etcd(seconds: float, folder: Path) -> Part:
    return _chaos("Chaos in labs of 3 managers on 3 etcd members with every fault", Engine.ETCD, (3,), seconds, folder)


def _chaos(name: str, engine: Engine, sizes: tuple[int, ...], seconds: float, folder: Path) -> Part:
    part, sums, slowest = Part(name), Counter[str](), 0.0
    ends, number = time.monotonic() + seconds, 0
    while not number or time.monotonic() + RUN_SECONDS < ends:
        seed, managers = secrets.randbelow(1 << 31), sizes[number % len(sizes)]
        number += 1
        lab = f"tsoak{number}-{os.getpid()}"
        try:
            result = chaos(name=lab, seed=seed, seconds=RUN_SECONDS, managers=managers, engine=engine, folder=folder)
        except Exception as error:  # a lab that does not start or heal is a failure; the soak continues
            part.failures.append(f"seed {seed}, {managers} managers, {engine}: {type(error).__name__}: {error}")
            continue
        print(result.line(), flush=True)
        _add(sums, result)
        slowest = max(slowest, result.healed_seconds)
        if result.report:
            part.failures.append(result.report[:LONGEST_FAILURE])
    part.figures = {
        "runs": f"{number:,}",
        "faults": f"{sums['faults']:,}",
        "histories": f"{sums['histories']:,}",
        "operations checked": f"{sums['operations']:,}",
        "writes acknowledged": f"{sums['acknowledged']:,}",
        "writes of unknown outcome": f"{sums['unknown']:,}",
        "violations": f"{sums['violations']:,}",
        "undecided": f"{sums['undecided']:,}",
        "s maximum from the end of faults to a write through every manager": f"{slowest:.1f}",
    }
    return part


def _add(sums: Counter[str], result: Result) -> None:
    for name in ("faults", "histories", "operations", "acknowledged", "unknown", "violations", "undecided"):
        sums[name] += getattr(result, name)


def members(seconds: float, folder: Path) -> Part:
    async def run() -> Rounds:
        with tempfile.TemporaryDirectory(dir=folder) as disks:
            async with raft_member_group(Path(disks)) as group:
                return await _rounds(group, seconds)

    return _kills("kill -9 of Raft members under load", run)


def managers(seconds: float, _folder: Path) -> Part:
    async def run() -> Rounds:
        async with manager_group() as group:
            return await _rounds(group, seconds)

    return _kills("kill -9 of managers under load", run)


async def _rounds(group: object, seconds: float) -> Rounds:
    seed = secrets.randbelow(1 << 31)
    return await kill_rounds(group, seed=seed, rounds=sys.maxsize, until=time.monotonic() + seconds)  # type: ignore[arg-type]


def _kills(name: str, run: Callable[[], object]) -> Part:
    part = Part(name)
    try:
        result: Rounds = asyncio.run(run())  # type: ignore[arg-type]
    except Exception as error:
        part.failures.append(f"{type(error).__name__}: {error}")
        return part
    ordered = sorted(result.recovery_seconds)
    part.figures = {
        "rounds": f"{result.rounds:,}",
        "kills": f"{result.kills:,}",
        "writes acknowledged": f"{result.acknowledged:,}",
        "lost writes": str(len(result.lost)),
        "duplicated writes": str(len(result.twice)),
        "s median to the next acknowledged write": f"{ordered[len(ordered) // 2]:.2f}",
        "s maximum": f"{ordered[-1]:.2f}",
    }
    part.failures = [f"seed {result.seed}: lost {key}" for key in result.lost]
    part.failures += [f"seed {result.seed}: duplicated {key}" for key in result.twice]
    return part


PARTS: dict[str, Callable[[float, Path], Part]] = {
    "simulation": simulation,
    "raft": on_raft,
    "etcd": on_etcd,
    "members": members,
    "managers": managers,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", default=",".join(PARTS), help="comma-separated list of: " + ",".join(PARTS))
    parser.add_argument("--folder", type=Path, default=None, help="folder for histories with a violation")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--json", type=Path, default=None, help="also write the figures as JSON to this file")
    asked = parser.parse_args()
    exit_on_sigterm()
    chosen = asked.only.split(",")
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="covey-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    about, parts = environment(), []
    for name in chosen:
        began = time.monotonic()
        part = PARTS[name](asked.minutes * 60 * SHARES[name] / sum(SHARES[one] for one in chosen), folder)
        part.seconds = time.monotonic() - began
        parts.append(part)
        print(f"{part.name}: {part.figures} {len(part.failures)} failures", flush=True)
    asked.page.write_text(page(about, parts))
    if asked.json:
        asked.json.write_bytes(msgspec.json.encode(parts))
    print(asked.page.read_text())
    return 1 if any(part.failures for part in parts) else 0


if __name__ == "__main__":
    sys.exit(main())
