"""``python -m tests.chaos --seed N``: one chaos run. Exits with 1 if a history is not linearizable or is undecided."""

import argparse
import os
import secrets
import sys
from pathlib import Path

from tests.chaos.hosts import Engine, exit_on_sigterm
from tests.chaos.nemesis import FAULTS, Fault
from tests.chaos.run import chaos


def _faults(words: str, engine: Engine) -> tuple[Fault, ...]:
    return FAULTS[engine] if words == "all" else tuple(Fault(word) for word in words.split(",") if word)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 31))
    parser.add_argument("--managers", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--engine", type=Engine, default=Engine.RAFT, choices=list(Engine))
    parser.add_argument("--nemesis", default="all", help="all, or a list of: " + ",".join(Fault))
    parser.add_argument("--skip", type=int, default=0, help="number of steps of the seed's plan to skip")
    parser.add_argument(
        "--until-struck", default="", help="continue until each of these faults has struck; all, or a list"
    )
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="folder for histories with a violation")
    asked = parser.parse_args()
    exit_on_sigterm()
    faults = _faults(asked.nemesis, asked.engine)
    result = chaos(
        name=f"tchaos-{os.getpid()}",
        seed=asked.seed,
        seconds=asked.seconds,
        managers=asked.managers,
        engine=asked.engine,
        faults=faults,
        skip=asked.skip,
        until_struck=faults if asked.until_struck == "all" else _faults(asked.until_struck, asked.engine),
        folder=asked.folder,
    )
    print(result.line())
    print(result.report)
    return 1 if result.report else 0


if __name__ == "__main__":
    sys.exit(main())
