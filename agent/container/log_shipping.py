"""Shipping of containers' logs to syslog and the journal: one shipper for each container whose log driver asks for it.

Invariant: a shipper runs from the start of its container until everything was sent, also after the exit, and goes on when
the daemon starts again. Called by `agent.container.lifecycle`, `agent.container.service` and the removal of containers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
from collections.abc import Callable

from agent.background_tasks import BackgroundTasks
from agent.container import log_config
from agent.container.model import ContainerConfig
from agent.container.paths import ContainerPaths
from agent.container.record import ContainerRecord
from agent.logs import journal_message, sinks
from agent.logs.errors import LogDriverError
from agent.logs.reader import FollowSignals
from agent.logs.shipper import LogShipper
from agent.logs.sinks import LogSink
from agent.logs.syslog_message import SyslogFormat
from agent.runtime.inotify import IN_CREATE, IN_MODIFY, IN_MOVED_TO, Inotify
from covey.errors import InvalidArgumentError
from covey.log_driver import JOURNALD
from covey.syslog_options import read_syslog

DRAIN_SECONDS = 5.0


class LogShippers:
    """The shippers of this host."""

    def __init__(self, paths: ContainerPaths, tasks: BackgroundTasks, inotify: Callable[[], Inotify]) -> None:
        self._paths, self._tasks, self._inotify = paths, tasks, inotify
        self._running: dict[str, asyncio.Task[None]] = {}

    async def check(self, config: ContainerConfig) -> None:
        """Raises LogDriverError if the log's options cannot be used, or its server cannot be reached at the start."""
        try:
            plan = log_config.plan(config)
        except InvalidArgumentError as error:
            raise LogDriverError(error.message) from None
        if plan.sent_to:
            await sinks.require_reachable(_sink(config), _address(config))

    def ship(self, record: ContainerRecord) -> None:
        """Ship the container's log, if its driver asks for that. Can be repeated."""
        plan, container_id = log_config.plan(record.config), record.config.id
        if not plan.sent_to or container_id in self._running:
            return
        work = self._ship(record, plan.buffer_bytes)
        task = self._tasks.spawn(work, f"log shipping of {container_id[:12]}")
        if task is not None:
            self._running[container_id] = task
            task.add_done_callback(lambda _: self._running.pop(container_id, None))

    async def drain(self, container_id: str) -> None:
        """Wait a while until the log of a container that has ended was sent, before its files are removed; then give up."""
        task = self._running.get(container_id)
        if task is None:
            return
        await asyncio.wait({task}, timeout=DRAIN_SECONDS)
        task.cancel()

    async def _ship(self, record: ContainerRecord, buffer_bytes: int) -> None:
        changed, path = asyncio.Event(), self._paths.log(record.config.id)

        def on_change(name: str) -> None:
            if name in {path.name, ""}:
                changed.set()

        signals = FollowSignals(changed, lambda: not record.state.active)
        record.log_wakeups.add(changed)
        watch = self._inotify().watch(path.parent, IN_MODIFY | IN_CREATE | IN_MOVED_TO, on_change)
        try:
            while True:
                await LogShipper(path, _sink(record.config), signals, buffer_bytes=buffer_bytes).run()
                if not record.state.active:  # it may have been started again while the last lines were sent
                    return
        except LogDriverError:
            return  # the host's journal or syslog has gone; the next start says so
        finally:
            watch.cancel()
            record.log_wakeups.discard(changed)


def _sink(config: ContainerConfig) -> LogSink:
    """The sink of the container's log. Raises LogDriverError if this host has none."""
    hostname = platform.node()
    tag = log_config.tag(config, hostname)
    if log_config.driver(config) == JOURNALD:
        attributes = log_config.attributes(config, hostname)
        return sinks.journal_sink(
            journal_message.container_fields(config.id, config.name, config.image, tag, attributes)
        )
    options = read_syslog(config.log.options)
    counted = options.address.scheme == "tcp+tls" and options.format.startswith("rfc5424")
    form = SyslogFormat(options.format, options.facility, hostname, tag, os.getpid(), counted)
    return sinks.syslog_sink(options, form)


def _address(config: ContainerConfig) -> str:
    """The address as Docker's errors name it."""
    with contextlib.suppress(InvalidArgumentError):
        address = read_syslog(config.log.options).address
        if address.host:
            return f"{address.scheme.removesuffix('+tls')} {address.host}:{address.port}"
        return f"{address.scheme or 'unixgram'} {address.path}".rstrip()
    return "journald"
