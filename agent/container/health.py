"""Health checks: what a probe's outcome makes of a container's health, and the loop that probes.

Law: `after_probe` is pure and follows Docker's rules: a success makes it healthy; `retries` failures in a row make
it unhealthy; failures within
the start period do not count while it is still starting. Callers: `ContainerService`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from agent.container.model import ContainerHealth, ExecConfig, HealthCheck, HealthProbe, HealthStatus

_LOG_LIMIT = 5
OUTPUT_LIMIT_BYTES = 4096
_SECOND_NS = 1_000_000_000

Probe = Callable[[ExecConfig, float], Awaitable[HealthProbe]]


def enabled(check: HealthCheck | None) -> bool:
    return check is not None and bool(check.test) and check.test[0] != "NONE"


def probe_args(check: HealthCheck) -> tuple[str, ...]:
    """The command of a probe."""
    if check.test[0] == "CMD-SHELL":
        return ("/bin/sh", "-c", *check.test[1:])
    return check.test[1:] if check.test[0] == "CMD" else check.test


def after_probe(health: ContainerHealth, probe: HealthProbe, check: HealthCheck, started_ns: int) -> ContainerHealth:
    """The next health."""
    log = (*health.log, probe)[-_LOG_LIMIT:]
    if probe.exit_code == 0:
        return ContainerHealth(HealthStatus.HEALTHY, 0, log)
    in_start_period = probe.start_ns < started_ns + int(check.start_period_seconds * _SECOND_NS)
    if health.status is HealthStatus.STARTING and in_start_period:
        return ContainerHealth(health.status, health.failing_streak, log)
    streak = health.failing_streak + 1
    status = HealthStatus.UNHEALTHY if streak >= max(check.retries, 1) else health.status
    return ContainerHealth(status, streak, log)


def seconds_until_next_probe(health: ContainerHealth, check: HealthCheck, started_ns: int, now_ns: int) -> float:
    """Until the next probe: shorter while it starts."""
    in_start_period = now_ns < started_ns + int(check.start_period_seconds * _SECOND_NS)
    if health.status is HealthStatus.STARTING and in_start_period and check.start_interval_seconds > 0:
        return min(check.start_interval_seconds, check.interval_seconds or 30.0)
    return check.interval_seconds or 30.0


async def run_health_checks(
    check: HealthCheck,
    started_ns: int,
    current: Callable[[], ContainerHealth],
    probe: Probe,
    report: Callable[[ContainerHealth], None],
) -> None:
    """Probe for as long as it is not cancelled."""
    config = ExecConfig(args=probe_args(check))
    while True:
        await asyncio.sleep(seconds_until_next_probe(current(), check, started_ns, time.time_ns()))
        outcome = await probe(config, check.timeout_seconds or 30.0)
        report(after_probe(current(), outcome, check, started_ns))
