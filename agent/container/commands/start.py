"""`docker start`."""

from __future__ import annotations

import asyncio

from agent.container.commands.remove import auto_remove
from agent.container.host import ContainerHost
from agent.container.model import Container


async def start_container(host: ContainerHost, ref: str) -> Container:
    """Start the container; does nothing if it runs. Raises CoveyError on failure, which the state keeps too.

    A container that was created with `--rm` is removed if it does not start.
    """
    record = host.index.find(ref)
    try:
        await host.lifecycle.start(record)
    except BaseException:
        if record.config.auto_remove and not record.state.running:
            await asyncio.shield(auto_remove(host, record))
        raise
    return record.snapshot()
