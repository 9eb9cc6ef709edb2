"""Resource usage of a container as ``docker stats`` reads it, and its processes as ``docker top`` does."""

from typing import Any

from agent.container.model import Container, ProcessTable
from agent.runtime.stats import ContainerStats
from engine.translate.times import rfc3339


def write(
    container: Container, now: ContainerStats, before: ContainerStats | None, host_memory_bytes: int = 0
) -> dict[str, Any]:
    """The present reading and the one before, from which clients compute percentages. Without a limit of its own a container may use all of
    the host's memory.
    """
    return {
        "id": container.id,
        "name": f"/{container.name}",
        "read": rfc3339(now.read_ns),
        "preread": rfc3339(before.read_ns if before else 0),
        "pids_stats": {"current": now.pids_current, **({"limit": now.pids_limit} if now.pids_limit else {})},
        "blkio_stats": {"io_service_bytes_recursive": None, "io_serviced_recursive": None},
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(now),
        "precpu_stats": _cpu(before) if before else {"cpu_usage": {"total_usage": 0}, "throttling_data": {}},
        "memory_stats": {
            "usage": now.memory_usage_bytes,
            **({"max_usage": now.memory_max_usage_bytes} if now.memory_max_usage_bytes else {}),
            "stats": now.memory_stats,
            "limit": now.memory_limit_bytes or host_memory_bytes,
        },
    }


def top(table: ProcessTable) -> dict[str, Any]:
    """The processes of a container."""
    return {"Titles": list(table.titles), "Processes": [list(row) for row in table.processes]}


def _cpu(item: ContainerStats) -> dict[str, Any]:
    return {
        "cpu_usage": {
            "total_usage": item.cpu_total_ns,
            "usage_in_kernelmode": item.cpu_system_ns,
            "usage_in_usermode": item.cpu_user_ns,
        },
        "system_cpu_usage": item.system_cpu_ns,
        "online_cpus": item.online_cpus,
        "throttling_data": {
            "periods": 0,
            "throttled_periods": item.throttled_periods,
            "throttled_time": item.throttled_ns,
        },
    }
