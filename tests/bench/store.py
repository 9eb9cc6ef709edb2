"""Benchmark of acknowledged writes per second and their latency, on Raft and on etcd: mTLS on loopback, encrypted at rest.

Raft: three manager processes, one fdatasync per batch. etcd: three Debian etcd members and one leading manager.
By itself: ``python -m tests.bench.store [--writes N] [--size BYTES] [--folder PATH]``.
"""

import argparse
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from manager import process
from tests.bench.figures import Figure, Target, table
from tests.support.etcd_server import EtcdCluster, etcd_cluster
from tests.support.etcd_stores import EtcdStoreNode
from tests.support.etcd_stores import etcd_store_group as etcd_group
from tests.support.raft_processes import RaftProcess, raft_group
from tests.support.write_load import write_load

WRITES = 10_000
SIZE_BYTES = 1024
LOAD_SECONDS = 300.0
TARGETS = {1: Target(800, at_least=True), 8: None, 100: Target(8000, at_least=True)}
WORDS = {1: "1 client", 8: "8 clients", 100: "100 clients"}

Load = Callable[..., Awaitable[Any]]
Results = dict[int, list[dict[str, float]]]


def store(rounds: int, *, writes: int = WRITES, size: int = SIZE_BYTES, folder: Path | None = None) -> list[Figure]:
    """``writes`` writes with 100 clients, a tenth of them with one and with eight. ``folder`` is on the disk to measure."""
    raft = process.run(_on_raft(rounds, writes, size, folder))
    with etcd_cluster(3, tls=True) as members:
        etcd = process.run(_on_etcd(rounds, writes, size, members))
    return [*_figures("", raft, size, TARGETS), *_figures("on etcd: ", etcd, size, {})]


def _figures(engine: str, results: Results, size: int, targets: dict[int, Target | None]) -> list[Figure]:
    figures = []
    for clients, results_of_clients in results.items():
        title = f"{engine}store writes of {size / 1024:g} KB, {WORDS[clients]}"
        rates = tuple(one["per_second"] for one in results_of_clients)
        figures.append(Figure(title, "/s", rates, targets.get(clients), worst_is_least=True))
        figures += [
            Figure(f"{title}: {name}", "ms", tuple(one[f"{name}_ms"] for one in results_of_clients))
            for name in ("p50", "p99")
        ]
    return figures


async def _on_raft(rounds: int, writes: int, size: int, folder: Path | None) -> Results:
    """Each round has a new group, because the store and so the cost of snapshots grow with every write."""
    results: Results = {clients: [] for clients in TARGETS}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=folder) as inner:
            async with raft_group(Path(inner)) as group:
                await group.add_three()
                leader = await group.leader()

                async def load(leader: RaftProcess = leader, **how: object) -> Any:
                    return await leader("load", timeout_seconds=LOAD_SECONDS, **how)

                await _round(load, results, writes, size)
    return results


async def _on_etcd(rounds: int, writes: int, size: int, members: EtcdCluster) -> Results:
    results: Results = {clients: [] for clients in TARGETS}
    for _ in range(rounds):
        async with etcd_group(members) as group:
            leader = await group.wait_leader()

            async def load(leader: EtcdStoreNode = leader, **how: Any) -> Any:
                return await write_load(leader.store, **how)

            await _round(load, results, writes, size)
    return results


async def _round(load: Load, results: Results, writes: int, size: int) -> None:
    for clients, results_of_clients in results.items():
        count = writes if clients == max(TARGETS) else writes // 10
        results_of_clients.append(await load(clients=clients, writes=count, size=size, prefix=f"c{clients}-"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.store", description=__doc__)
    parser.add_argument(
        "--writes", type=int, default=2 * WRITES, help="writes with 100 clients; fewer clients do a tenth"
    )
    parser.add_argument("--size", type=int, default=SIZE_BYTES)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="folder on the disk to measure; default: the temporary folder")
    options = parser.parse_args()
    print(table(store(options.rounds, writes=options.writes, size=options.size, folder=options.folder)))


if __name__ == "__main__":
    main()
