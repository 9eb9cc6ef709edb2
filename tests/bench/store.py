"""Acknowledged writes a second of the replicated store: three processes, mTLS on loopback, sealed log, one fdatasync a batch.

By itself: ``python -m tests.bench.store [--writes N] [--size BYTES] [--folder PATH]``.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, Target, table
from tests.integration.raft_world import world

WRITES = 10_000
SIZE_BYTES = 1024
LOAD_SECONDS = 300.0
TARGETS = {1: Target(800, at_least=True), 8: None, 100: Target(8000, at_least=True)}
WORDS = {1: "1 client", 8: "8 clients", 100: "100 clients"}


def store(rounds: int, *, writes: int = WRITES, size: int = SIZE_BYTES, folder: Path | None = None) -> list[Figure]:
    """``writes`` with a hundred clients, a tenth of them with one and with eight; ``folder`` is on the disk to be measured."""
    results = asyncio.run(_load(rounds, writes, size, folder))
    figures = []
    for clients, got in results.items():
        title = f"store writes of {size / 1024:g} KB, {WORDS[clients]}"
        rates = tuple(one["per_second"] for one in got)
        figures.append(Figure(title, "/s", rates, TARGETS[clients], worst_is_least=True))
        figures += [
            Figure(f"{title}: {name} of a write", "ms", tuple(one[f"{name}_ms"] for one in got))
            for name in ("p50", "p99")
        ]
    return figures


async def _load(rounds: int, writes: int, size: int, folder: Path | None) -> dict[int, list[dict[str, Any]]]:
    results: dict[int, list[dict[str, Any]]] = {clients: [] for clients in TARGETS}
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        async with world(Path(inner)) as group:
            await group.three()
            leader = await group.leader()
            for number in range(rounds):
                for clients, got in results.items():
                    count = writes if clients == max(TARGETS) else writes // 10
                    prefix = f"r{number}c{clients}-"
                    load = {"clients": clients, "writes": count, "size": size, "prefix": prefix}
                    answer = await leader("load", timeout_seconds=LOAD_SECONDS, **load)
                    assert isinstance(answer, dict)
                    got.append(answer)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.store", description=__doc__)
    parser.add_argument("--writes", type=int, default=2 * WRITES, help="with 100 clients; a tenth of it with one")
    parser.add_argument("--size", type=int, default=SIZE_BYTES)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; default: the temporary folder")
    options = parser.parse_args()
    print(table(store(options.rounds, writes=options.writes, size=options.size, folder=options.folder)))


if __name__ == "__main__":
    main()
