"""`docker pause` and `docker unpause`: freezing and thawing a container's processes."""

from __future__ import annotations

import msgspec

from agent.container.host import ContainerHost
from agent.container.model import RunStatus
from covey.errors import ConflictError


async def pause_container(host: ContainerHost, ref: str) -> None:
    record = host.index.find_running(ref)
    async with record.lock:
        if record.state.status is RunStatus.PAUSED:
            raise ConflictError(f"container {record.config.id} is already paused")
        if record.state.status is not RunStatus.RUNNING:
            raise ConflictError(f"container {record.config.id} is not running")
        await host.runtimes.of(record.config.id).pause(record.config.id)
        host.index.set_state(record, msgspec.structs.replace(record.state, status=RunStatus.PAUSED))
        host.index.emit(record, "pause")


async def unpause_container(host: ContainerHost, ref: str) -> None:
    record = host.index.find(ref)
    async with record.lock:
        if record.state.status is not RunStatus.PAUSED:
            raise ConflictError(f"container {record.config.id} is not paused")
        await host.lifecycle.resume_if_paused(record)
