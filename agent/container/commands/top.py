"""`docker top`: the processes of a running container."""

from __future__ import annotations

from agent.container import process_table
from agent.container.host import ContainerHost
from agent.container.model import ProcessTable
from agent.runtime import cgroup, process
from covey.errors import InvalidArgumentError, UnsupportedError

DEFAULT_ARGUMENTS = "-ef"
_PS_SECONDS = 10.0


async def list_processes(host: ContainerHost, ref: str, ps_args: str = "") -> ProcessTable:
    """The processes with the columns of `ps -ef`, or those of the host's `ps` with these arguments.

    Raises:
        InvalidArgumentError: ps does not take the arguments, or shows no PID with them.
    """
    record = host.index.find_running(ref)
    pids = cgroup.processes(host.cgroups, host.paths.cgroup(record.config.id, record.config.cgroup_parent))
    if ps_args in {"", DEFAULT_ARGUMENTS}:
        return process_table.read_process_table(pids)
    try:
        result = await process.run(["ps", *ps_args.split()], timeout_seconds=_PS_SECONDS)
    except FileNotFoundError:
        raise UnsupportedError("ps_args needs the program ps on this host: install procps") from None
    if result.code != 0:
        raise InvalidArgumentError(f"ps {ps_args}: {result.error_message}")
    return process_table.parse_ps(result.output.decode(errors="replace"), pids)
