"""``python -m tests.soak --minutes 60``: simulation, chaos on both engines, rounds of kills; then docs/soak.md is written anew.

Ends with 1 if anything failed; what is needed to repeat it is in the page and in ``--folder``.
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

from tests.chaos.hosts import Engine, end_in_order
from tests.chaos.kills import Rounds, kill_rounds
from tests.chaos.run import Result, chaos
from tests.simulation.simulator.parallel_runs import RunTotals, run_many
from tests.soak.page import Part, page, surroundings
from tests.support.kill_groups import manager_group, member_group

SHARES = {"simulation": 0.25, "raft": 0.35, "etcd": 0.15, "members": 0.15, "managers": 0.10}
RUN_SECONDS = 40.0
LONGEST_FAILURE = 4000
PAGE = Path("docs/soak.md")


def simulation(seconds: float, _folder: Path) -> Part:
    part = Part("Simulated managers of 3, 5 and 7, with stores and disks")
    ends = time.monotonic() + seconds

    def enough(total: RunTotals) -> bool:
        return time.monotonic() >= ends or len(total.failures) >= 5

    total = run_many(enough, first_seed=int(time.time()) % 10**9, workers=os.cpu_count() or 1, on_result=lambda _: None)
    for name in ("runs", "steps", "committed", "acknowledged", "reads", "leaders", "memberships"):
        part.figures[name] = f"{getattr(total, name):,}"
    part.failures = [one.failure.report for one in total.failures if one.failure]
    return part


def on_raft(seconds: float, folder: Path) -> Part:
    return _chaos("Labs of 3 and 5 managers under every fault", Engine.RAFT, (3, 5), seconds, folder)


def on_etcd(seconds: float, folder: Path) -> Part:
    return _chaos("Labs of 3 managers on an etcd of 3 under every fault", Engine.ETCD, (3,), seconds, folder)


def _chaos(name: str, engine: Engine, sizes: tuple[int, ...], seconds: float, folder: Path) -> Part:
    part, sums, slowest = Part(name), Counter[str](), 0.0
    ends, number = time.monotonic() + seconds, 0
    while not number or time.monotonic() + RUN_SECONDS < ends:
        seed, managers = secrets.randbelow(1 << 31), sizes[number % len(sizes)]
        number += 1
        lab = f"tsoak{number}-{os.getpid()}"
        try:
            result = chaos(name=lab, seed=seed, seconds=RUN_SECONDS, managers=managers, engine=engine, folder=folder)
        except Exception as error:  # what does not come up or heal is a failure, and the soak goes on
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
        "of unknown outcome": f"{sums['unknown']:,}",
        "violations": f"{sums['violations']:,}",
        "undecided": f"{sums['undecided']:,}",
        "s at most from the end of all faults to a write through every manager": f"{slowest:.1f}",
    }
    return part


def _add(sums: Counter[str], result: Result) -> None:
    for name in ("faults", "histories", "operations", "acknowledged", "unknown", "violations", "undecided"):
        sums[name] += getattr(result, name)


def members(seconds: float, folder: Path) -> Part:
    async def run() -> Rounds:
        with tempfile.TemporaryDirectory(dir=folder) as disks:
            async with member_group(Path(disks)) as group:
                return await _rounds(group, seconds)

    return _kills("Kill -9 of bare group members under load", run)


def managers(seconds: float, _folder: Path) -> Part:
    async def run() -> Rounds:
        async with manager_group() as group:
            return await _rounds(group, seconds)

    return _kills("Kill -9 of whole managers under load", run)


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
        "lost": str(len(result.lost)),
        "twice": str(len(result.twice)),
        "s to the next acknowledged write at the median": f"{ordered[len(ordered) // 2]:.2f}",
        "s at worst": f"{ordered[-1]:.2f}",
    }
    part.failures = [f"seed {result.seed}: lost {key}" for key in result.lost]
    part.failures += [f"seed {result.seed}: twice {key}" for key in result.twice]
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
    parser.add_argument("--only", default=",".join(PARTS), help="some of: " + ",".join(PARTS))
    parser.add_argument("--folder", type=Path, default=None, help="where bad histories go")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--json", type=Path, default=None, help="the same figures for programs")
    asked = parser.parse_args()
    end_in_order()
    chosen = asked.only.split(",")
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="covey-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    about, parts = surroundings(), []
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
