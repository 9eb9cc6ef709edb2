"""What an engine itself holds of a host's memory."""

import time

from tests.bench import computer
from tests.bench.figures import Figure, Target
from tests.bench.subject import Subject, fresh

SETTLE_SECONDS = 5.0
WORKER, MANAGER = Target(90.0), Target(170.0)
SWARM_WORKER = "45-50 + 16"
SWARM_MANAGER = "102-112 + 16"


def with_tasks(subject: Subject) -> list[Figure]:
    """Six tasks a host, nothing to do."""
    name = fresh("memory")
    replicas = 6 * len(subject.hosts)
    subject.create_service(name, replicas)
    subject.wait_running(name, replicas)
    time.sleep(SETTLE_SECONDS)
    figures = now(subject, "idle with 6 tasks")
    subject.remove_service(name)
    return figures


def now(subject: Subject, when: str) -> list[Figure]:
    """The PSS of each host as it is, managers and workers apart, and a monitor's."""
    time.sleep(SETTLE_SECONDS)
    sizes = [computer.pss_mib(host)[0] for host in subject.hosts]
    managers, workers = sizes[: subject.lab.managers], sizes[subject.lab.managers :]
    return [
        Figure(f"PSS of a manager's host, {when}", "MiB", tuple(managers), MANAGER, SWARM_MANAGER),
        Figure(f"PSS of a worker's host, {when}", "MiB", tuple(workers), WORKER, SWARM_WORKER),
    ]
