"""Write load on one store, with throughput and latency; the same for every consensus backend."""

import asyncio
import os
import time

from covey.objects import Annotations, Config, ConfigSpec
from manager.store import Store


async def write_load(store: Store, *, clients: int, writes: int, size: int, prefix: str) -> dict[str, float]:
    """Acknowledged writes per second of ``clients`` concurrent writers, and their latencies. Each write creates an object of ``size`` bytes."""
    latencies: list[float] = []
    numbers = iter(range(writes))
    data = os.urandom(size)

    async def client() -> None:
        for number in numbers:
            name = f"{prefix}{number}"
            began = time.perf_counter()
            config = Config(id=name, spec=ConfigSpec(annotations=Annotations(name=name), data=data))
            await store.update(lambda tx, config=config: tx.create(config))  # type: ignore[misc]
            latencies.append(time.perf_counter() - began)

    began, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients):
            tasks.create_task(client())
    seconds = time.perf_counter() - began
    latencies.sort()
    return {
        "per_second": writes / seconds,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
        "cpu_share": (time.process_time() - cpu) / seconds,
    }
