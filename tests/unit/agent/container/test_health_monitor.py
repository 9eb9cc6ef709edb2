"""Health check loop: it probes a running container, records the result, and ends with the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.background_tasks import BackgroundTasks
from agent.container.health_monitor import HealthMonitor
from agent.container.index import ContainerIndex
from agent.container.model import (
    ContainerConfig,
    ContainerHealth,
    ContainerState,
    ExecConfig,
    HealthCheck,
    HealthProbe,
    HealthStatus,
    RunStatus,
)
from agent.container.record import ContainerRecord
from agent.container.store import ContainerStore
from agent.event_bus import EventBus

CHECK = HealthCheck(test=("CMD", "probe"), interval_seconds=0.001, timeout_seconds=2, retries=1)
STARTED = ContainerState(status=RunStatus.RUNNING, health=ContainerHealth(HealthStatus.STARTING))


class Probes:
    """A container whose probes give the exit codes of a list; the last one waits for ever."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.calls: list[tuple[tuple[str, ...], float]] = []
        self.exhausted = asyncio.Event()

    async def __call__(self, _config: ContainerConfig, exec_config: ExecConfig, seconds: float) -> HealthProbe:
        self.calls.append((exec_config.args, seconds))
        if not self.codes:
            self.exhausted.set()
            await asyncio.Event().wait()
        return HealthProbe(1, 2, self.codes.pop(0), "")


@pytest.fixture
async def tasks() -> AsyncIterator[BackgroundTasks]:
    made = BackgroundTasks("test")
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
def index(tmp_path: Path, bus: EventBus) -> ContainerIndex:
    return ContainerIndex(ContainerStore(tmp_path / "containers.db"), bus)


def started(index: ContainerIndex, check: HealthCheck | None) -> ContainerRecord:
    record = index.add(
        ContainerConfig(id="a" * 64, name="web", image="i", image_id="x", args=("x",), healthcheck=check)
    )
    index.set_state(record, STARTED)
    return record


async def test_health_changes_are_recorded_and_each_change_is_one_event(
    index: ContainerIndex, bus: EventBus, tasks: BackgroundTasks
) -> None:
    record, probes = started(index, CHECK), Probes(0, 0, 1)
    monitor = HealthMonitor(index, tasks, probes)
    with bus.subscribe() as events:
        monitor.start(record)
        async with asyncio.timeout(10):
            await probes.exhausted.wait()
            seen = [(await events.get()).action for _ in range(2)]
    assert seen == ["health_status: healthy", "health_status: unhealthy"]
    assert record.state.health.status is HealthStatus.UNHEALTHY
    assert [probe.exit_code for probe in record.state.health.log] == [0, 0, 1]
    assert probes.calls[0] == (("probe",), 2)


async def test_a_stopped_monitor_cancels_the_probe(index: ContainerIndex, tasks: BackgroundTasks) -> None:
    record, probes = started(index, CHECK), Probes()
    monitor = HealthMonitor(index, tasks, probes)
    monitor.start(record)
    task = record.health_task
    assert task is not None
    async with asyncio.timeout(10):
        await probes.exhausted.wait()
        monitor.stop(record)
        await asyncio.wait([task])
    assert task.cancelled()
    assert record.health_task is None


async def test_a_container_without_a_health_check_is_not_probed(index: ContainerIndex, tasks: BackgroundTasks) -> None:
    monitor = HealthMonitor(index, tasks, Probes())
    for check in (None, HealthCheck(test=("NONE",))):
        record = started(index, check)
        monitor.start(record)
        assert record.health_task is None
        index.remove(record)
