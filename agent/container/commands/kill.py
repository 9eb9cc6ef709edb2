"""`docker kill`: any signal to process 1 of a running container."""

from __future__ import annotations

from agent.container import signals
from agent.container.host import ContainerHost
from covey.errors import ConflictError


async def kill_container(host: ContainerHost, ref: str, signal: str = "SIGKILL") -> None:
    """Send the signal; does not wait for an exit."""
    record = host.index.find(ref)
    number = signals.parse_signal(signal or "SIGKILL")
    if not record.state.running:
        raise ConflictError(f"cannot kill container: {ref}: container {record.config.id} is not running")
    await host.lifecycle.send_signal(record, number)
