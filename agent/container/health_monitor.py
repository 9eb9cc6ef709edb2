"""Health check loop of running containers: probes, records the result, and emits `health_status` events.

`agent.container.health` decides what a probe means. Called by `agent.container.exit_watcher`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec

from agent.background_tasks import BackgroundTasks
from agent.container import health
from agent.container.index import ContainerIndex
from agent.container.model import ContainerConfig, ContainerHealth, ExecConfig, HealthCheck, HealthProbe
from agent.container.record import ContainerRecord

Probe = Callable[[ContainerConfig, ExecConfig, float], Awaitable[HealthProbe]]
"""Runs a command in the container, with a timeout in seconds."""


class HealthMonitor:
    """One task per running container that has a health check."""

    def __init__(self, index: ContainerIndex, tasks: BackgroundTasks, probe: Probe) -> None:
        self._index = index
        self._tasks = tasks
        self._probe = probe

    def start(self, record: ContainerRecord) -> None:
        """Begin to probe the container, if it has a health check."""
        check = record.config.healthcheck
        if check is not None and health.enabled(check):
            record.health_task = self._tasks.spawn(self._run(record, check), f"health of {record.config.id[:12]}")

    def stop(self, record: ContainerRecord) -> None:
        if record.health_task is not None:
            record.health_task.cancel()
            record.health_task = None

    async def _run(self, record: ContainerRecord, check: HealthCheck) -> None:
        started_ns = record.state.started_at_ns
        config = ExecConfig(args=health.probe_args(check, record.config.shell))
        while True:
            delay = health.seconds_until_next_probe(record.state.health, check, started_ns, time.time_ns())
            await asyncio.sleep(delay)
            probe = await self._probe(record.config, config, check.timeout_seconds or health.DEFAULT_TIMEOUT_SECONDS)
            self._report(record, health.after_probe(record.state.health, probe, check, started_ns))

    def _report(self, record: ContainerRecord, now: ContainerHealth) -> None:
        before = record.state.health.status
        if record.state.running:
            self._index.set_state(record, msgspec.structs.replace(record.state, health=now))
            if now.status is not before:
                self._index.emit(record, f"health_status: {now.status}")
