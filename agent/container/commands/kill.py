"""`docker kill`: any signal to process 1 of a running container."""

from __future__ import annotations

from signal import SIGKILL

from agent.container.host import ContainerHost
from agent.container.model import ContainerConfig, RunStatus
from covey import signals
from covey.errors import ConflictError


async def kill_container(host: ContainerHost, ref: str, signal: str = "SIGKILL") -> None:
    """Send the signal; as in Docker, only SIGKILL waits for the exit. One that stops the container also ends its restarts."""
    record = host.index.find(ref)
    number = signals.parse_signal(signal or "SIGKILL")
    if record.state.status is RunStatus.RESTARTING:
        host.lifecycle.request_stop(record)
        await host.restarts.cancel(record)
    elif not record.state.running:
        raise ConflictError(f"cannot kill container: {ref}: container {record.config.id} is not running")
    if not record.state.running:
        return
    if number == SIGKILL:
        await host.lifecycle.kill_and_wait(record)
        return
    if _is_stop(record.config, number):
        host.lifecycle.request_stop(record)
    await host.lifecycle.send_signal(record, number)


def _is_stop(config: ContainerConfig, number: int) -> bool:
    """Whether the signal asks the container to end: its own stop signal."""
    return number == signals.parse_signal(config.stop_signal or "SIGTERM")
