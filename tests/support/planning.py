"""Views made of objects, and execution of plans on them, for unit tests of planners."""

from __future__ import annotations

from collections.abc import Iterable

from covey.clock import SECOND
from covey.objects import (
    Annotations,
    ContainerSpec,
    NetworkAttachmentConfig,
    Node,
    NodeDescription,
    NodeSpec,
    NodeStatus,
    Object,
    Resources,
    RestartPolicy,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskStatus,
    replace,
)
from covey.states import NodeAvailability, NodeState, TaskState
from manager.loop import Plan
from manager.orchestrator.service_planner import plan_service
from manager.store import log
from manager.store.applier import apply
from manager.store.view import Tx, View

NOW = 1_000 * SECOND


class Ids:
    """ID generator that counts."""

    def __init__(self, prefix: str = "new") -> None:
        self._prefix = prefix
        self._number = 0

    def __call__(self) -> str:
        self._number += 1
        return f"{self._prefix}{self._number:04d}"


def view_of(*objects: Object, now_ns: int = NOW) -> View:
    return execute(View.empty(), [lambda tx, item=item: tx.create(item) for item in objects], now_ns)


def applied(view: View, plan: Plan, now_ns: int = NOW) -> View:
    """View after the plan, with each step in its own transaction."""
    return execute(view, plan.steps, now_ns)


def changed(view: View, *objects: Object, now_ns: int = NOW) -> View:
    """View with these objects updated."""
    return execute(view, [lambda tx, item=item: tx.update(item) for item in objects], now_ns)


def removed(view: View, *objects: Object) -> View:
    return execute(view, [lambda tx, item=item: tx.remove(type(item), item.id) for item in objects], NOW)


def execute(view: View, operations: Iterable, now_ns: int) -> View:
    for operation in operations:
        tx = Tx(view)
        operation(tx)
        if not tx.changes:
            continue
        result = apply(view, view.version + 1, log.decode(log.encode(1, tx.changes, now_ns)))
        assert result is not None
        view = result[0]
    return view


def node(node_id: str, *, state=NodeState.READY, availability=NodeAvailability.ACTIVE, labels=None, **changes) -> Node:
    return Node(
        id=node_id,
        spec=NodeSpec(annotations=Annotations(labels=labels or {}), availability=availability),
        status=NodeStatus(state=state, changed_at_ns=NOW),
        description=changes.pop(
            "description",
            NodeDescription(hostname=f"host-{node_id}", resources=Resources(nano_cpus=4 * 10**9, memory_bytes=4 << 30)),
        ),
        **changes,
    )


def service(
    service_id: str = "web", *, image: str = "one", networks=(), restart=None, placement=None, **changes
) -> Service:
    task = TaskSpec(
        container=ContainerSpec(image=image),
        restart=restart or RestartPolicy(delay_ns=0),
        placement=placement,
        networks=tuple(NetworkAttachmentConfig(target=target) for target in networks),
        resources=changes.pop("resources", None),
    )
    spec = ServiceSpec(annotations=Annotations(name=service_id), task=task, **changes)
    return Service(id=service_id, spec=spec)


def task(
    of: Service, slot: int, *, state=TaskState.RUNNING, desired=TaskState.RUNNING, node_id: str = "n1", **changes
) -> Task:
    fields = {
        "id": f"{of.id}-{slot}",
        "spec": of.spec.task,
        "service_id": of.id,
        "slot": slot,
        "node_id": node_id,
        "service_annotations": of.spec.annotations,
        "status": TaskStatus(state=state, timestamp_ns=NOW),
        "desired_state": desired,
    }
    return Task(**(fields | changes))


def in_state(item: Task, state: TaskState, at_ns: int = NOW) -> Task:
    return replace(item, status=replace(item.status, state=state, timestamp_ns=at_ns))


def decide(view: View, service_id: str = "web", now_ns: int = NOW, ids: Ids | None = None) -> Plan:
    return plan_service(view, service_id, now_ns, ids or Ids())


def after_planning(view: View, service_id: str = "web", now_ns: int = NOW, ids: Ids | None = None) -> View:
    """View after one planning step for a service."""
    return applied(view, decide(view, service_id, now_ns, ids), now_ns)


def desired_tasks(view: View, service_id: str = "web") -> list[Task]:
    return [item for item in view.tasks.by_service(service_id) if item.desired_state <= TaskState.RUNNING]


def run_all_tasks(view: View, service_id: str = "web", at_ns: int = NOW) -> View:
    """View after the agents have run or stopped all tasks as desired; unplaced tasks run on n1."""
    for _ in range(4):
        for item in view.tasks.by_service(service_id):
            if item.status.state.terminal:
                continue
            if item.desired_state > TaskState.RUNNING:
                view = changed(view, in_state(item, TaskState.SHUTDOWN, at_ns), now_ns=at_ns)
            elif item.desired_state == TaskState.RUNNING and item.status.state < TaskState.RUNNING:
                running = replace(in_state(item, TaskState.RUNNING, at_ns), node_id=item.node_id or "n1")
                view = changed(view, running, now_ns=at_ns)
    return view
