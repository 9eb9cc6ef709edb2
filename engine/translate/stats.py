"""Resource usage of a container as ``docker stats`` reads it, and its processes as ``docker top`` does."""

from typing import Any

import msgspec

from agent.container.model import Container, ProcessTable
from agent.runtime.stats import ContainerStats
from engine.translate.json_fields import omit_empty
from engine.translate.times import rfc3339

_BLOCK_IO = (
    "io_service_bytes_recursive",
    "io_serviced_recursive",
    "io_queue_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "io_time_recursive",
    "sectors_recursive",
)
"""The counters of Docker's answer; kernels of today have the first two."""
_NO_CPU = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}


def write(
    container: Container, now: ContainerStats, before: ContainerStats | None, host_memory_bytes: int = 0
) -> dict[str, Any]:
    """The present reading and the one before, from which clients compute percentages. Without a limit of its own a container may use all of
    the host's memory. A reading at time 0 is of a container that does not run.
    """
    names = {"id": container.id, "name": f"/{container.name}", "num_procs": 0, "storage_stats": {}}
    times = {"read": rfc3339(now.read_ns), "preread": rfc3339(before.read_ns if before else 0)}
    if not now.read_ns:
        counters = dict.fromkeys(_BLOCK_IO)
        stopped = {"pids_stats": {}, "cpu_stats": _NO_CPU, "precpu_stats": _NO_CPU, "memory_stats": {}}
        return {**times, "blkio_stats": counters, **stopped, **names}
    return {
        **times,
        "pids_stats": {"current": now.pids_current, **omit_empty(limit=now.pids_limit)},
        "blkio_stats": _block_io(now),
        "cpu_stats": _cpu(now),
        "precpu_stats": _cpu(before) if before and before.read_ns else _NO_CPU,
        "memory_stats": {
            "usage": now.memory_usage_bytes,
            **omit_empty(max_usage=now.memory_max_usage_bytes),
            "stats": now.memory_stats,
            "limit": now.memory_limit_bytes or host_memory_bytes,
        },
        **names,
        **omit_empty(networks={name: msgspec.structs.asdict(item) for name, item in now.networks.items()}),
    }


def top(table: ProcessTable) -> dict[str, Any]:
    """The processes of a container."""
    return {"Titles": list(table.titles), "Processes": [list(row) for row in table.processes]}


def _cpu(item: ContainerStats) -> dict[str, Any]:
    return {
        "cpu_usage": {
            "total_usage": item.cpu_total_ns,
            **omit_empty(percpu_usage=list(item.cpu_each_ns)),
            "usage_in_kernelmode": item.cpu_system_ns,
            "usage_in_usermode": item.cpu_user_ns,
        },
        "system_cpu_usage": item.system_cpu_ns,
        "online_cpus": item.online_cpus,
        "throttling_data": {
            "periods": item.periods,
            "throttled_periods": item.throttled_periods,
            "throttled_time": item.throttled_ns,
        },
    }


def _block_io(item: ContainerStats) -> dict[str, Any]:
    """The counters by device. Those that this kernel does not have are empty with cgroup v1 and null with v2, as in Docker."""
    missing: list[Any] | None = [] if item.cpu_each_ns else None
    return {
        name: [
            {"major": entry.major, "minor": entry.minor, "op": entry.op, "value": entry.value}
            for entry in item.block_io[name]
        ]
        if name in item.block_io
        else missing
        for name in _BLOCK_IO
    }
