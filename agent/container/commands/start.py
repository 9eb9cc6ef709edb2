"""`docker start` and `docker restart`."""

from __future__ import annotations

import asyncio

from agent.container.commands.remove import auto_remove
from agent.container.commands.stop import stop_container
from agent.container.host import ContainerHost
from agent.container.model import Container, RunStatus
from covey.errors import ConflictError


async def start_container(host: ContainerHost, ref: str) -> Container:
    """Start the container; does nothing if it runs. Raises CoveyError on failure, which the state keeps too.

    A container created with `--rm` that does not start is removed.
    """
    record = host.index.find(ref)
    if record.state.status is RunStatus.PAUSED:
        raise ConflictError("cannot start a paused container, try unpause instead")
    try:
        await host.lifecycle.start(record)
    except BaseException:
        if record.config.auto_remove and not record.state.running:
            await asyncio.shield(auto_remove(host, record))
        raise
    return record.snapshot()


async def restart_container(
    host: ContainerHost, ref: str, timeout_seconds: float | None = None, signal: str = ""
) -> Container:
    """Stop the container, if it runs, and start it. It is not removed in between, even with `--rm`."""
    record = host.index.find(ref)
    record.keep_after_exit = True
    try:
        await stop_container(host, record.config.id, timeout_seconds, signal)
        await host.lifecycle.start(record)
    finally:
        record.keep_after_exit = False
        if record.config.auto_remove and not record.state.active:
            await asyncio.shield(auto_remove(host, record))
    host.index.emit(record, "restart")
    return record.snapshot()
