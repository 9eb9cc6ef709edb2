"""Health check rules: the health after a probe, and the time of the next one."""

from __future__ import annotations

from agent.container.health import after_probe, enabled, probe_args, seconds_until_next_probe
from agent.container.model import ContainerHealth, HealthCheck, HealthProbe, HealthStatus

CHECK = HealthCheck(
    test=("CMD", "x"), interval_seconds=30, retries=2, start_period_seconds=10, start_interval_seconds=1
)
STARTING = ContainerHealth(HealthStatus.STARTING)


def probe(second: int, code: int) -> HealthProbe:
    return HealthProbe(second * 10**9, second * 10**9, code, "")


def test_failures_in_the_start_period_do_not_count() -> None:
    now = after_probe(STARTING, probe(9, 1), CHECK, 0)
    assert (now.status, now.failing_streak, len(now.log)) == (HealthStatus.STARTING, 0, 1)


def test_a_container_becomes_unhealthy_after_the_retries_and_healthy_at_once() -> None:
    once = after_probe(STARTING, probe(11, 1), CHECK, 0)
    assert (once.status, once.failing_streak) == (HealthStatus.STARTING, 1)
    twice = after_probe(once, probe(12, 1), CHECK, 0)
    assert twice.status is HealthStatus.UNHEALTHY
    assert after_probe(twice, probe(13, 0), CHECK, 0).status is HealthStatus.HEALTHY


def test_a_healthy_container_stays_healthy_until_the_retries_even_in_the_start_period() -> None:
    healthy = after_probe(STARTING, probe(1, 0), CHECK, 0)
    once = after_probe(healthy, probe(2, 1), CHECK, 0)
    assert (once.status, once.failing_streak) == (HealthStatus.HEALTHY, 1)


def test_the_log_is_bounded() -> None:
    health = STARTING
    for second in range(20):
        health = after_probe(health, probe(second, 0), CHECK, 0)
    assert [p.start_ns // 10**9 for p in health.log] == [15, 16, 17, 18, 19]


def test_probes_use_the_start_interval_while_the_container_starts() -> None:
    assert seconds_until_next_probe(STARTING, CHECK, 0, 5 * 10**9) == 1
    assert seconds_until_next_probe(STARTING, CHECK, 0, 11 * 10**9) == 30
    assert seconds_until_next_probe(ContainerHealth(HealthStatus.HEALTHY), CHECK, 0, 5 * 10**9) == 30


def test_the_three_forms_of_a_health_check_command() -> None:
    assert probe_args(HealthCheck(test=("CMD-SHELL", "a b"))) == ("/bin/sh", "-c", "a b")
    assert probe_args(HealthCheck(test=("CMD-SHELL", "a b")), ("/bin/ash", "-ec")) == ("/bin/ash", "-ec", "a b")
    assert probe_args(HealthCheck(test=("CMD", "a", "b"))) == ("a", "b")
    assert not enabled(HealthCheck(test=("NONE",)))
    assert not enabled(None)
