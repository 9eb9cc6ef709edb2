"""Benchmark of the dispatcher: one task's status on a network of 10,000 endpoints, from its commit to the messages of 400 nodes."""

import statistics
import time

from covey.objects import (
    Annotations,
    ContainerSpec,
    Network,
    NetworkAttachment,
    NetworkAttachmentConfig,
    Node,
    NodeDescription,
    NodeStatus,
    Object,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskStatus,
    replace,
)
from covey.states import NodeState, TaskState
from manager.dispatcher.assignment_cache import AssignmentCache, SentAssignments
from manager.dispatcher.assignment_wire import split_into_messages
from manager.store.commit import Action, Change
from manager.store.schema import BY_KIND
from manager.store.table import TableState
from manager.store.view import View
from tests.bench.figures import Figure, Target

ENDPOINTS = 10_000
NODES = 400
CHANGES = 200


def dispatch(rounds: int) -> list[Figure]:
    """The leader's work for one status: once, and for each node that is told."""
    shared, each = [], []
    for _ in range(rounds):
        shared_ms, each_ms = _measure()
        shared.append(shared_ms)
        each.append(each_ms)
    size = f"one status on a network of {ENDPOINTS:,} endpoints"
    return [
        Figure(f"{size}: leader's work for all nodes", "ms", tuple(shared), Target(2)),
        Figure(f"{size}: leader's work a node, of {NODES}", "ms", tuple(each), Target(0.2)),
    ]


def _measure() -> tuple[float, float]:
    """Median milliseconds for all nodes together and for one node."""
    view = _view()
    cache = AssignmentCache(view)
    sessions = {node.id: SentAssignments() for node in view.nodes}
    for node_id, session in sessions.items():
        session.advance(cache.assignments_of(node_id))
    shared, each = [], []
    tasks = list(view.tasks)
    for number in range(CHANGES):
        before = tasks[number * (ENDPOINTS // CHANGES)]
        after = replace(before, status=replace(before.status, state=TaskState.STARTING))
        view = view.put(BY_KIND[Task], after.id, after)
        began = time.perf_counter()
        told = cache.apply_changes(view, [Change(Action.UPDATE, before, after)])
        middle = time.perf_counter()
        for node_id in told:
            for message in split_into_messages(sessions[node_id].advance(cache.assignments_of(node_id)).changes):
                message.SerializeToString()
        ended = time.perf_counter()
        if len(told) != NODES:
            raise ValueError(f"{len(told)} of {NODES} nodes were told")
        shared.append((middle - began) * 1_000)
        each.append((ended - middle) / len(told) * 1_000)
    return statistics.median(shared), statistics.median(each)


def _view() -> View:
    network = Network(id="net", vni=4096, allocated=True)
    container = ContainerSpec(image="busybox", env=("MODE=production",))
    spec = TaskSpec(container=container, networks=(NetworkAttachmentConfig(target="net"),))
    service = Service(id="web", spec=ServiceSpec(annotations=Annotations(name="web"), task=spec, replicas=ENDPOINTS))
    nodes = [_node(number) for number in range(NODES)]
    tasks = [_task(number, service) for number in range(ENDPOINTS)]
    view = View.empty()
    tables = [view.state(schema) for schema in BY_KIND.values()]
    kinds: dict[type[Object], list[Object]] = {Network: [network], Service: [service], Node: [*nodes], Task: [*tasks]}
    for kind, items in kinds.items():
        schema = BY_KIND[kind]
        tables[schema.position] = TableState.of(schema, items)
    return View(tables)


def _node(number: int) -> Node:
    status = NodeStatus(state=NodeState.READY, addr=f"10.1.{number // 250}.{number % 250 + 1}")
    return Node(id=f"node{number:03}", status=status, description=NodeDescription(hostname=f"host-{number}"))


def _task(number: int, service: Service) -> Task:
    address = f"10.2.{number >> 8}.{number & 255}/16"
    return Task(
        id=f"task{number:05}",
        spec=service.spec.task,
        service_id=service.id,
        slot=number + 1,
        node_id=f"node{number % NODES:03}",
        service_annotations=service.spec.annotations,
        status=TaskStatus(state=TaskState.RUNNING),
        desired_state=TaskState.RUNNING,
        networks=(NetworkAttachment(network_id="net", address=address),),
    )
