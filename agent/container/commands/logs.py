"""`docker logs`: entries of a container's log, and log following."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from agent.container import log_config
from agent.container.host import ContainerHost
from agent.container.model import RunStatus
from agent.container.record import ContainerRecord
from agent.logs import reader
from agent.logs.encoder import LogEncoder, LogFormat
from agent.logs.entry import LogEntry
from agent.runtime.inotify import IN_CREATE, IN_MODIFY, IN_MOVED_TO
from covey.errors import UnsupportedError


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
    """Entries in order; with `follow`, until the container has exited and everything is read.

    Raises UnsupportedError if the container's log driver keeps nothing that can be read.
    """
    record = _find_readable(host, ref)
    return _read(host, record, reader.LogFilter(tail, since_ns, until_ns, stdout, stderr), follow=follow)


def read_log_stream(
    host: ContainerHost,
    ref: str,
    *,
    follow: bool = False,
    tail: int | None = None,
    since_ns: int = 0,
    until_ns: int = 0,
    stdout: bool = True,
    stderr: bool = True,
    timestamps: bool = False,
    details: bool = False,
    framed: bool = True,
) -> AsyncGenerator[bytes, None]:
    """As `read_logs`, as the bytes that a client reads: framed by stream, or raw for a terminal and without `framed`; many
    lines at a time.
    """
    record = _find_readable(host, ref)
    log_filter = reader.LogFilter(tail, since_ns, until_ns, stdout, stderr)
    text = log_config.details(record.config) if details else ""
    return _stream(
        host, record, log_filter, LogFormat(framed and not record.config.tty, timestamps, text), follow=follow
    )


def _find_readable(host: ContainerHost, ref: str) -> ContainerRecord:
    record = host.index.find(ref)
    if not log_config.plan(record.config).readable:
        raise UnsupportedError("configured logging driver does not support reading")
    return record


async def _read(
    host: ContainerHost, record: ContainerRecord, log_filter: reader.LogFilter, *, follow: bool
) -> AsyncGenerator[LogEntry, None]:
    path = host.paths.log(record.config.id)
    async with (
        _follow_signals(host, record, follow=follow) as signals,
        contextlib.aclosing(reader.read(path, log_filter, signals)) as entries,
    ):
        async for entry in entries:
            yield entry


async def _stream(
    host: ContainerHost, record: ContainerRecord, log_filter: reader.LogFilter, log_format: LogFormat, *, follow: bool
) -> AsyncGenerator[bytes, None]:
    path, encoder = host.paths.log(record.config.id), LogEncoder(log_filter, log_format)
    async with (
        _follow_signals(host, record, follow=follow) as signals,
        contextlib.aclosing(reader.read_blocks(path, log_filter, signals)) as blocks,
    ):
        async for block in blocks:
            if data := encoder.encode(block.data, block.skip):
                yield data
            if encoder.finished:
                return


@contextlib.asynccontextmanager
async def _follow_signals(
    host: ContainerHost, record: ContainerRecord, *, follow: bool
) -> AsyncIterator[reader.FollowSignals | None]:
    """The signals of a followed log; None if it is not followed."""
    if not follow:
        yield None
        return
    changed = asyncio.Event()
    path = host.paths.log(record.config.id)

    def on_change(name: str) -> None:
        if name in {path.name, ""}:
            changed.set()

    def ended() -> bool:
        will_start = record.state.status is RunStatus.CREATED and bool(record.config.task_id)
        may_write = record.state.active or will_start
        return not host.is_open or not may_write or host.index.by_id(record.config.id) is None

    record.log_wakeups.add(changed)
    watch = host.inotify.watch(path.parent, IN_MODIFY | IN_CREATE | IN_MOVED_TO, on_change)
    try:
        yield reader.FollowSignals(changed, ended)
    finally:
        watch.cancel()
        record.log_wakeups.discard(changed)
