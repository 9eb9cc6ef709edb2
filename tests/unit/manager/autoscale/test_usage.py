"""What tasks use, from samples of their nodes: rates, restarts, old samples and the base of percentages."""

from __future__ import annotations

import pytest

from covey.clock import SECOND
from covey.objects import Autoscale, ResourceRequirements, Resources
from manager.autoscale.usage import FRESH_NS, UsageSample, UsageSamples, usage_measures
from tests.support.planning import service, task

NOW = 1_000 * SECOND
CPU = 1_000_000_000


def sample(at: int, cpu_seconds: float, memory: int = 0, received: int | None = None) -> UsageSample:
    return UsageSample(at * SECOND, int(cpu_seconds * SECOND), memory, NOW if received is None else received)


def samples_of(task_id: str, *found: UsageSample) -> UsageSamples:
    samples = UsageSamples()
    samples.keep([task_id])
    for one in found:
        samples.add(task_id, one)
    return samples


def test_cpu_use_is_the_mean_between_the_oldest_and_newest_kept_sample() -> None:
    samples = samples_of("t", sample(-9, -9), sample(0, 0), sample(5, 5), sample(10, 6), sample(15, 6), sample(20, 9))
    assert samples.cpu_nanos("t", NOW) == pytest.approx(4 / 15 * CPU)


def test_one_sample_an_old_one_and_none_are_unknown() -> None:
    assert samples_of("t", sample(0, 1)).cpu_nanos("t", NOW) is None
    late = samples_of("t", sample(0, 1, received=0), sample(5, 2, memory=9, received=NOW - FRESH_NS - 1))
    assert (late.cpu_nanos("t", NOW), late.memory_bytes("t", NOW), late.memory_bytes("other", NOW)) == (
        None,
        None,
        None,
    )


def test_a_container_that_started_again_begins_anew() -> None:
    samples = samples_of("t", sample(0, 100), sample(5, 105), sample(10, 1))
    assert samples.cpu_nanos("t", NOW) is None
    samples.add("t", sample(12, 2))
    assert samples.cpu_nanos("t", NOW) == pytest.approx(0.5 * CPU)


def test_samples_of_tasks_that_nobody_asked_for_are_dropped() -> None:
    samples = samples_of("t", sample(0, 0), sample(5, 5))
    samples.add("stranger", sample(0, 0))
    samples.keep(["u"])
    samples.keep(["t"])
    assert samples.memory_bytes("stranger", NOW) is None
    assert samples.memory_bytes("t", NOW) is None


def test_percentages_are_of_the_reservation_or_else_of_the_limit() -> None:
    web = service("web")
    tasks = [task(web, 1)]
    samples = samples_of("web-1", sample(0, 0), sample(10, 1, memory=30))
    scale = Autoscale(max=5, cpu_percent=50, memory_percent=80)
    limit = Resources(nano_cpus=CPU, memory_bytes=60)
    limited = usage_measures(scale, ResourceRequirements(limits=limit), tasks, samples, NOW)
    assert [(one.name, one.total, one.target) for one in limited] == [("cpu", 10.0, 50), ("memory", 50.0, 80)]
    reserved = ResourceRequirements(limits=limit, reservations=Resources(nano_cpus=CPU // 5, memory_bytes=30))
    assert [one.total for one in usage_measures(scale, reserved, tasks, samples, NOW)] == [50.0, 100.0]


def test_a_service_whose_tasks_have_told_nothing_has_no_load() -> None:
    web = service("web")
    reserved = ResourceRequirements(reservations=Resources(nano_cpus=CPU))
    (found,) = usage_measures(Autoscale(max=2, cpu_percent=50), reserved, [task(web, 1)], UsageSamples(), NOW)
    assert found.error == "no task has told its cpu use yet"
