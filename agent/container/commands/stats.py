"""`docker stats`: one reading of a container's resource usage."""

from __future__ import annotations

import time

from agent.container.host import ContainerHost
from agent.runtime import stats
from agent.runtime.stats import ContainerStats


async def read_stats(host: ContainerHost, ref: str) -> ContainerStats:
    """All figures are 0 for a container that does not run."""
    record = host.index.find(ref)
    if not record.state.running:
        return ContainerStats(read_ns=time.time_ns())
    return stats.read_stats(
        host.cgroups, host.paths.cgroup(record.config.id, record.config.cgroup_parent), time.time_ns()
    )
