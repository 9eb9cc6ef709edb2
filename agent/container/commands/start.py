"""`docker start`."""

from __future__ import annotations

from agent.container.host import ContainerHost
from agent.container.model import Container


async def start_container(host: ContainerHost, ref: str) -> Container:
    """Start the container; does nothing if it runs. Raises CoveyError on failure, which the state keeps too."""
    record = host.index.find(ref)
    await host.lifecycle.start(record)
    return record.snapshot()
