"""Client transactions of the simulation: small store changes that often conflict with each other.

They use few ids and names, so that creations collide, updates start from outdated versions, and names move between
objects. Each is an `apply` function like the product's own; `raft_simulation` proposes the resulting transaction.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from covey.objects import (
    Annotations,
    Config,
    ConfigSpec,
    ContainerSpec,
    Node,
    NodeSpec,
    Secret,
    SecretReference,
    SecretSpec,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    replace,
)
from covey.states import NodeAvailability, NodeRole
from manager.store import Tx

IDS = tuple(f"id{number}" for number in range(8))
NAMES = ("red", "green", "blue", "gold", "grey", "pink")

Transaction = Callable[[Tx, random.Random], None]


def _named(rng: random.Random) -> Annotations:
    return Annotations(name=rng.choice(NAMES))


def count(tx: Tx, rng: random.Random) -> None:
    """Increments a counter, so that a lost or repeated update shows in the number."""
    counter = tx.configs.get("counter")
    if counter is None:
        tx.create(Config(id="counter", spec=ConfigSpec(annotations=Annotations(name="counter"), data=b"1")))
        return
    more = b"%d" % (int(counter.spec.data) + 1)
    tx.update(replace(counter, spec=ConfigSpec(annotations=counter.spec.annotations, data=more)))


def create(tx: Tx, rng: random.Random) -> None:
    kind = rng.randrange(3)
    if kind == 0:
        tx.create(Secret(id=rng.choice(IDS), spec=SecretSpec(annotations=_named(rng), data=rng.randbytes(8))))
    elif kind == 1:
        tx.create(Config(id=rng.choice(IDS), spec=ConfigSpec(annotations=_named(rng), data=rng.randbytes(8))))
    else:
        tx.create(Node(id=rng.choice(IDS), role=rng.choice((NodeRole.WORKER, NodeRole.MANAGER))))


def remove(tx: Tx, rng: random.Random) -> None:
    kind, table = rng.choice(((Secret, tx.secrets), (Config, tx.configs), (Node, tx.nodes)))
    object_id = rng.choice(IDS)
    if table.get(object_id) is not None:
        tx.remove(kind, object_id)


def rename(tx: Tx, rng: random.Random) -> None:
    secret = tx.secrets.get(rng.choice(IDS))
    if secret is not None:
        tx.update(replace(secret, spec=SecretSpec(annotations=_named(rng), data=secret.spec.data)))


def swap_names(tx: Tx, rng: random.Random) -> None:
    """Removes one object and gives its name to another in one transaction."""
    first, second = tx.configs.get(rng.choice(IDS)), tx.configs.get(rng.choice(IDS))
    if first is None or second is None or first.id == second.id:
        return
    tx.remove(Config, first.id)
    tx.update(replace(second, spec=ConfigSpec(annotations=first.spec.annotations, data=second.spec.data)))


def drain(tx: Tx, rng: random.Random) -> None:
    node = tx.nodes.get(rng.choice(IDS))
    if node is not None:
        tx.update(replace(node, spec=NodeSpec(availability=rng.choice(tuple(NodeAvailability)))))


def deploy(tx: Tx, rng: random.Random) -> None:
    """Creates, updates or removes a service with its tasks: many objects and indexes in one transaction."""
    service = tx.services.get(rng.choice(IDS[:3]))
    secrets = (SecretReference(secret_id=rng.choice(IDS)),)
    spec = ServiceSpec(annotations=_named(rng), task=TaskSpec(container=ContainerSpec(image="web", secrets=secrets)))
    if service is None:
        service = Service(id=rng.choice(IDS[:3]), spec=spec)
        tx.create(service)
    elif rng.random() < 0.4:
        tx.remove(Service, service.id)
        for task in tx.tasks.by_service(service.id):
            tx.remove(Task, task.id)
        return
    else:
        service = replace(service, spec=replace(spec, annotations=service.spec.annotations), previous_spec=service.spec)
        tx.update(service)
    task_id = f"task{rng.randrange(12)}"
    if tx.tasks.get(task_id) is None:
        tx.create(Task(id=task_id, service_id=service.id, slot=rng.randrange(3), spec=service.spec.task))


def assign(tx: Tx, rng: random.Random) -> None:
    for task in tx.tasks.by_slot(rng.choice(IDS[:3]), rng.randrange(3)):
        tx.update(replace(task, node_id=rng.choice(IDS)))


TRANSACTIONS: tuple[Transaction, ...] = (
    count,
    count,
    create,
    create,
    create,
    remove,
    rename,
    swap_names,
    drain,
    deploy,
    deploy,
    assign,
)
