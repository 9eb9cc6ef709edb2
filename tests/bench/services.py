"""Benchmark of services: time to create, scale and remove."""

import time

from tests.bench.figures import Figure, Target
from tests.bench.subject import Subject, unique_name

SWARM_CREATE = {1: "1.1 s", 10: "3.0 s", 30: "6.8 s"}


def services(subject: Subject, rounds: int) -> list[Figure]:
    """Create 1, 10 and 30 replicas on the overlay until all run; remove the 30; scale from 10 to 30."""
    figures = []
    removals: list[float] = []
    for replicas in (1, 10, 30):
        times = []
        for _ in range(rounds):
            name = unique_name(f"create{replicas}")
            began = time.monotonic()
            subject.create_service(name, replicas)
            subject.wait_running(name, replicas)
            times.append(time.monotonic() - began)
            began = time.monotonic()
            subject.remove_service(name)
            if replicas == 30:
                removals.append(time.monotonic() - began)
        target = Target(3.0) if replicas == 30 else None
        title = f"service create of {replicas} on an overlay until all run"
        figures.append(Figure(title, "s", tuple(times), target, SWARM_CREATE[replicas]))
    figures.append(_scale(subject, rounds))
    figures.append(Figure("service rm of 30 until the containers are gone", "s", tuple(removals), swarm="8.3 s"))
    return figures


def _scale(subject: Subject, rounds: int) -> Figure:
    times = []
    for _ in range(rounds):
        name = unique_name("scale")
        subject.create_service(name, 10)
        subject.wait_running(name, 10)
        began = time.monotonic()
        subject.scale(name, 30)
        subject.wait_running(name, 30)
        times.append(time.monotonic() - began)
        subject.remove_service(name)
    return Figure("service scale 10 to 30 until all run", "s", tuple(times))
