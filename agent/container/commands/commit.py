"""`docker commit`: holds a container still while its writable layer is read."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.container.commands.pause import pause_container, unpause_container
from agent.container.host import ContainerHost
from agent.container.model import RunStatus
from agent.container.record import ContainerRecord
from covey.errors import ConflictError, CoveyError, NotFoundError


@asynccontextmanager
async def frozen_layer(host: ContainerHost, ref: str, *, pause: bool = True) -> AsyncIterator[Path]:
    """The directory of the writable layer. Meanwhile the container does not start, end or disappear, and with `pause` not run."""
    record = host.index.find(ref)
    paused = pause and record.state.status is RunStatus.RUNNING and await _freeze(host, record)
    try:
        async with record.lock:
            if host.index.by_id(record.config.id) is None:
                raise NotFoundError(f"No such container: {ref}")
            upper = host.paths.folder(record.config.id) / "upper"
            upper.mkdir(mode=0o755, exist_ok=True)
            yield upper
    finally:
        if paused:
            await _thaw(host, record)


async def thaw_all(host: ContainerHost) -> None:
    """Resume the containers that a commit of an earlier daemon left paused."""
    for path in host.paths.frozen.iterdir():
        record = host.index.by_id(path.name)
        if record is not None:
            await _thaw(host, record)
        path.unlink(missing_ok=True)


async def _freeze(host: ContainerHost, record: ContainerRecord) -> bool:
    """Pause the container. Returns False if it ended meanwhile."""
    marker = host.paths.frozen / record.config.id
    marker.touch()
    try:
        await pause_container(host, record.config.id)
    except ConflictError:
        marker.unlink(missing_ok=True)
        return False
    return True


async def _thaw(host: ContainerHost, record: ContainerRecord) -> None:
    with contextlib.suppress(CoveyError):  # it ended or was resumed meanwhile
        await unpause_container(host, record.config.id)
    (host.paths.frozen / record.config.id).unlink(missing_ok=True)
