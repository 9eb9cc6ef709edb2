"""`docker top`: the processes of a running container."""

from __future__ import annotations

from agent.container import process_table
from agent.container.host import ContainerHost
from agent.container.model import ProcessTable
from agent.runtime import cgroup


async def list_processes(host: ContainerHost, ref: str) -> ProcessTable:
    record = host.index.find_running(ref)
    pids = cgroup.processes(host.cgroups, host.paths.cgroup(record.config.id))
    return process_table.read_process_table(pids)
