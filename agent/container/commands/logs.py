"""`docker logs`: log entries of a container, and log following."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from agent.container.host import ContainerHost
from agent.container.model import RunStatus
from agent.container.record import ContainerRecord
from agent.logs import reader
from agent.logs.entry import LogEntry
from agent.runtime.inotify import IN_CREATE, IN_MODIFY, IN_MOVED_TO


def read_logs(
    host: ContainerHost,
    ref: str,
    *,
    follow: bool = False,
    tail: int | None = None,
    since_ns: int = 0,
    until_ns: int = 0,
    stdout: bool = True,
    stderr: bool = True,
) -> AsyncGenerator[LogEntry, None]:
    """Entries in order; with `follow`, until the container has exited and everything is read."""
    record = host.index.find(ref)
    log_filter = reader.LogFilter(tail, since_ns, until_ns, stdout, stderr)
    if follow:
        return _follow(host, record, log_filter)
    return reader.read(host.paths.log(record.config.id), log_filter)


async def _follow(
    host: ContainerHost, record: ContainerRecord, log_filter: reader.LogFilter
) -> AsyncGenerator[LogEntry, None]:
    changed = asyncio.Event()
    path = host.paths.log(record.config.id)

    def on_change(name: str) -> None:
        if name in {path.name, ""}:
            changed.set()

    def ended() -> bool:
        may_write = record.state.active or record.state.status is RunStatus.CREATED
        return not host.is_open or not may_write or host.index.by_id(record.config.id) is None

    record.log_wakeups.add(changed)
    watch = host.inotify.watch(path.parent, IN_MODIFY | IN_CREATE | IN_MOVED_TO, on_change)
    try:
        async with contextlib.aclosing(reader.read(path, log_filter, reader.FollowSignals(changed, ended))) as entries:
            async for entry in entries:
                yield entry
    finally:
        watch.cancel()
        record.log_wakeups.discard(changed)
