"""`docker stop`: the stop signal, then SIGKILL after the grace period."""

from __future__ import annotations

from agent.container.host import ContainerHost
from agent.container.model import DEFAULT_STOP_GRACE_SECONDS, Container, RunStatus
from covey import signals


async def stop_container(
    host: ContainerHost, ref: str, timeout_seconds: float | None = None, signal: str = ""
) -> Container:
    """Stop the container and wait for its exit; does nothing if it does not run.

    Without a timeout the configuration's grace period applies; a negative one waits for ever.
    """
    record = host.index.find(ref)
    if record.state.status is RunStatus.RESTARTING:
        host.lifecycle.request_stop(record)
        await host.restarts.cancel(record)
    if record.state.running:
        own = record.config.stop_grace_seconds
        default = DEFAULT_STOP_GRACE_SECONDS if own is None else own
        grace = default if timeout_seconds is None else timeout_seconds
        number = signals.parse_signal(signal or record.config.stop_signal or "SIGTERM")
        await host.lifecycle.stop(record, number, grace)
    return record.snapshot()
