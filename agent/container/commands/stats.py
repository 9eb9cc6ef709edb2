"""`docker stats`: one reading of a container's resource usage."""

from __future__ import annotations

import time

from agent.container.host import ContainerHost
from agent.container.model import HOST_NETWORK
from agent.runtime import stats
from agent.runtime.stats import ContainerStats


async def read_stats(host: ContainerHost, ref: str) -> ContainerStats:
    """One reading; all figures and the time are 0 for a container that does not run."""
    record = host.index.find(ref)
    if not record.state.running:
        return ContainerStats(read_ns=0)
    network_pid = 0 if record.config.netns_path == HOST_NETWORK else record.state.pid
    path = host.paths.cgroup(record.config.id, record.config.cgroup_parent)
    return stats.read_stats(host.cgroups, path, time.time_ns(), network_pid)
