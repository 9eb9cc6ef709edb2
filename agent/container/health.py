"""Health check rules: the health that follows from a probe, and the time of the next probe.

Invariant: pure, and Docker's rules. A success makes the container healthy; `retries` failures in a row make it
unhealthy; failures within the start period do not count while it is still starting. Called by
`agent.container.health_monitor`.
"""

from __future__ import annotations

from agent.container.model import ContainerHealth, HealthCheck, HealthProbe, HealthStatus

OUTPUT_LIMIT_BYTES = 4096
DEFAULT_INTERVAL_SECONDS = 30.0
DEFAULT_TIMEOUT_SECONDS = 30.0
DEFAULT_START_INTERVAL_SECONDS = 5.0
DEFAULT_RETRIES = 3
_LOG_LIMIT = 5
_SECOND_NS = 1_000_000_000


def enabled(check: HealthCheck | None) -> bool:
    return check is not None and bool(check.test) and check.test[0] != "NONE"


def probe_args(check: HealthCheck, shell: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The command line of a probe. `shell` is that of the container, empty for /bin/sh."""
    if check.test[0] == "CMD-SHELL":
        return (*(shell or ("/bin/sh", "-c")), *check.test[1:])
    return check.test[1:] if check.test[0] == "CMD" else check.test


def initial_health(check: HealthCheck | None) -> ContainerHealth:
    """The health of a container that has just started."""
    return ContainerHealth(HealthStatus.STARTING) if enabled(check) else ContainerHealth()


def after_probe(health: ContainerHealth, probe: HealthProbe, check: HealthCheck, started_ns: int) -> ContainerHealth:
    """The health after this probe."""
    log = (*health.log, probe)[-_LOG_LIMIT:]
    if probe.exit_code == 0:
        return ContainerHealth(HealthStatus.HEALTHY, 0, log)
    if health.status is HealthStatus.STARTING and _in_start_period(check, started_ns, probe.start_ns):
        return ContainerHealth(health.status, health.failing_streak, log)
    streak = health.failing_streak + 1
    status = HealthStatus.UNHEALTHY if streak >= (check.retries or DEFAULT_RETRIES) else health.status
    return ContainerHealth(status, streak, log)


def seconds_until_next_probe(health: ContainerHealth, check: HealthCheck, started_ns: int, now_ns: int) -> float:
    """The start interval while the container is starting, the interval afterwards."""
    interval = check.interval_seconds or DEFAULT_INTERVAL_SECONDS
    starting = health.status is HealthStatus.STARTING and _in_start_period(check, started_ns, now_ns)
    if starting:
        return min(check.start_interval_seconds or DEFAULT_START_INTERVAL_SECONDS, interval)
    return interval


def _in_start_period(check: HealthCheck, started_ns: int, now_ns: int) -> bool:
    return now_ns < started_ns + int(check.start_period_seconds * _SECOND_NS)
