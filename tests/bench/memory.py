"""Benchmark of the memory of an engine's own processes on a host."""

import time

from tests.bench import computer
from tests.bench.figures import Figure, Target
from tests.bench.subject import Subject, unique_name

SETTLE_SECONDS = 5.0
WORKER, MANAGER = Target(80.0), Target(170.0)
SWARM_WORKER = "45-50 + 16"
SWARM_MANAGER = "102-112 + 16"


def with_tasks(subject: Subject) -> list[Figure]:
    """Memory with six idle tasks per host."""
    name = unique_name("memory")
    replicas = 6 * len(subject.hosts)
    subject.create_service(name, replicas)
    subject.wait_running(name, replicas)
    time.sleep(SETTLE_SECONDS)
    figures = current(subject, "idle with 6 tasks")
    subject.remove_service(name)
    return figures


def current(subject: Subject, when: str) -> list[Figure]:
    """Memory of each host now; managers and workers are separate figures."""
    time.sleep(SETTLE_SECONDS)
    memories = [computer.memory_of(host) for host in subject.hosts]
    managers, workers = memories[: subject.lab.managers], memories[subject.lab.managers :]
    figures = []
    for hosts, word, target, swarm in (
        (managers, "manager", MANAGER, SWARM_MANAGER),
        (workers, "worker", WORKER, SWARM_WORKER),
    ):
        pss, alone = tuple(one.pss for one in hosts), tuple(one.alone for one in hosts)
        figures.append(Figure(f"PSS of a {word}'s host, {when}", "MiB", pss, target, swarm))
        figures.append(Figure(f"memory of a {word}'s host by itself, {when}", "MiB", alone, target))
    return figures
