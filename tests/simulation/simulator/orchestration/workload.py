"""The services of a simulated cluster, drawn from the seed: sizes, reservations, constraints, limits and update policies."""

from __future__ import annotations

import random

from covey.clock import SECOND
from covey.objects import (
    ContainerSpec,
    Node,
    Placement,
    ResourceRequirements,
    Resources,
    RestartPolicy,
    Service,
    UpdateConfig,
    replace,
)
from covey.states import ServiceMode, UpdateFailureAction, UpdateOrder
from tests.support import planning

ZONES = ("a", "b", "c", "d")
GIBIBYTE = 1 << 30


def make_node(number: int) -> Node:
    """A node with 16 CPUs and 64 GiB in one of four zones."""
    made = planning.node(f"n{number:03d}", labels={"zone": ZONES[number % len(ZONES)]})
    resources = Resources(nano_cpus=16 * 10**9, memory_bytes=64 * GIBIBYTE)
    return replace(made, description=replace(made.description, resources=resources))


def make_service(rng: random.Random, service_id: str, replicas: int, *, nodes: int) -> Service:
    """A replicated service. About one in eight has tasks that fail after a while."""
    made = planning.service(
        service_id,
        replicas=replicas,
        restart=RestartPolicy(delay_ns=rng.choice((0, 1, 5)) * SECOND),
        placement=_placement(rng, replicas, nodes),
        resources=_resources(rng),
        update=_update(rng),
        rollback=_update(rng),
    )
    return with_container(made, labels={"fails": "yes"}) if rng.random() < 0.12 else made


def make_global_service(service_id: str) -> Service:
    return planning.service(service_id, mode=ServiceMode.GLOBAL, update=UpdateConfig(parallelism=10))


def with_container(service: Service, **changes: object) -> Service:
    """The service with another container, so that an update replaces its tasks."""
    task = service.spec.task
    container: ContainerSpec = replace(task.container, **changes)
    return replace(service, spec=replace(service.spec, task=replace(task, container=container)))


def _placement(rng: random.Random, replicas: int, nodes: int) -> Placement:
    """``max_replicas`` is tight and yet enough for half as many tasks again in one zone."""
    zone = rng.choice(ZONES)
    return Placement(
        constraints=rng.choice(((), (), (f"node.labels.zone!={zone}",), (f"node.labels.zone=={zone}",))),
        preferences=rng.choice(((), ("node.labels.zone",))),
        max_replicas=rng.choice((0, 0, replicas * 6 // nodes + 2)),
    )


def _resources(rng: random.Random) -> ResourceRequirements:
    cpus, memory = rng.choice((0, 100, 250, 500)) * 10**6, rng.choice((0, 256, 1024)) * (1 << 20)
    return ResourceRequirements(reservations=Resources(nano_cpus=cpus, memory_bytes=memory))


def _update(rng: random.Random) -> UpdateConfig:
    return UpdateConfig(
        parallelism=rng.choice((0, 1, 2, 5, 10)),
        delay_ns=rng.choice((0, 0, 2)) * SECOND,
        monitor_ns=rng.choice((0, 5)) * SECOND,
        failure_action=rng.choice((UpdateFailureAction.PAUSE, UpdateFailureAction.ROLLBACK)),
        order=rng.choice(list(UpdateOrder)),
    )
