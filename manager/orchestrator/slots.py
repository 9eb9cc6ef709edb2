"""Slots of a service, and what a decision knows about the tasks in them.

A slot is the place that the tasks of a service fill one after another: a number for a replicated service or job, a node's id for a
global one.
Pure; used by every module of the orchestrator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from covey.ids import IdSource
from covey.objects import (
    Annotations,
    DNSConfig,
    Driver,
    EndpointSpec,
    Node,
    Placement,
    ResourceRequirements,
    RestartPolicy,
    Service,
    Task,
    TaskSpec,
    TaskStatus,
    replace,
)
from covey.objects.task import DEFAULT_STOP_GRACE_NS
from covey.states import NodeAvailability, NodeState, TaskState
from covey.task_predicates import creation_order, has_ended, should_run
from manager.constraints import meets_constraints, platform_matches
from manager.job_runs import is_in_present_run
from manager.service_ports import can_publish_in_place
from manager.store.view import View

SlotKey = int | str
CONSTRAINT_LOST = "assigned node no longer meets constraints"
"""Swarm's words for a task whose node's labels or role changed."""


class Slot(msgspec.Struct, frozen=True):
    """One slot. ``tasks`` are all its tasks that still exist, oldest first."""

    key: SlotKey
    tasks: tuple[Task, ...] = ()

    @property
    def active(self) -> tuple[Task, ...]:
        """The tasks that should run."""
        return tuple([task for task in self.tasks if should_run(task)])


PlacementPreview = Callable[[View, int], Callable[[Task], str | None]]
"""For a view and a time: which node a placed task would be given if it were placed now."""


def no_preview(_view: View, _now_ns: int) -> Callable[[Task], str | None]:
    """A preview for clusters in which no task is better placed elsewhere."""
    return lambda _task: None


class ServiceContext(msgspec.Struct, frozen=True):
    """The input of every decision about one service."""

    view: View
    service: Service
    now_ns: int
    new_id: IdSource
    waiting_for: str = ""
    """The dependency that new tasks wait for, as a sentence; empty if they may start."""
    preview: PlacementPreview = no_preview

    def up_to_date(self, task: Task) -> bool:
        """Whether the task matches the service's current spec. Names and labels of the service do not count, and of its
        published ports only those that the task cannot take over while it runs. Another placement does not count on a node that
        meets it. A job's task has to belong to its present run.
        """
        spec = self.service.spec
        if spec.mode.is_job:
            return is_in_present_run(self.service, task)
        if (
            task.spec is not spec.task
            and not same_work(task.spec, spec.task)
            and not self._only_placement_differs(task)
        ):
            return False
        return can_publish_in_place(self.view, task, spec.endpoint or EndpointSpec())

    def _only_placement_differs(self, task: Task) -> bool:
        wanted, node = self.service.spec.task, self.node(task)
        if node is None or task.spec.placement == wanted.placement or not fits_placement(wanted.placement, node):
            return False
        return same_work(replace(task.spec, placement=wanted.placement), wanted)

    def node(self, task: Task) -> Node | None:
        """The task's node; None before it has one and after the node was removed."""
        return self.view.nodes.get(task.node_id)

    def on_lost_node(self, task: Task) -> bool:
        """Whether the task's node is down or was removed."""
        return bool(task.node_id) and is_node_lost(self.node(task))

    def misplaced(self, task: Task) -> bool:
        """Whether the task's node exists but may not run the task any longer."""
        node = self.node(task)
        return node is not None and not may_keep_running(task, node)

    def end_reason(self, task: Task) -> str:
        """Why the task's node, which is there and takes tasks, may not run the task any longer; otherwise empty."""
        node = self.node(task)
        if node is None or self.on_lost_node(task) or node.spec.availability is NodeAvailability.DRAIN:
            return ""
        return "" if fits_placement(task.spec.placement, node) else CONSTRAINT_LOST

    def may_be_running(self, task: Task) -> bool:
        """Whether the task may still have a running container, on a node that will report its end."""
        return not has_ended(task) and not self.on_lost_node(task)

    @property
    def running_state(self) -> TaskState:
        """The desired state of a task that may run: until it completes in a job, else without an end."""
        return TaskState.COMPLETE if self.service.spec.mode.is_job else TaskState.RUNNING

    def new_task(self, key: SlotKey, *, desired: TaskState) -> Task:
        """A new task for a slot. With ``desired`` READY it waits for its predecessor to end, and in PENDING for dependencies."""
        spec, task_id = self.service.spec, self.new_id()
        return Task(
            id=task_id,
            spec=spec.task,
            spec_version=self.service.spec_version,
            service_id=self.service.id,
            slot=key if isinstance(key, int) else 0,
            node_id=key if isinstance(key, str) else "",
            annotations=Annotations(name=f"{spec.annotations.name}.{key}.{task_id}"),
            service_annotations=spec.annotations,
            status=TaskStatus(
                timestamp_ns=self.now_ns,
                state=TaskState.NEW,
                message=self.waiting_for or "created",
                error=self.waiting_for,
            ),
            desired_state=TaskState.PENDING if self.waiting_for else desired,
            log_driver=None if spec.task.log_driver else self._default_log_driver(),
            job_iteration=self.service.job_status.iteration if self.service.job_status is not None else None,
        )

    def _default_log_driver(self) -> Driver | None:
        cluster = next(iter(self.view.clusters), None)
        return cluster.spec.task_log_driver if cluster is not None else None


def slot_key(service: Service, task: Task) -> SlotKey:
    """The key of the slot that the task is in."""
    return task.node_id if service.spec.mode.is_global else task.slot


def group_into_slots(service: Service, tasks: Iterable[Task]) -> dict[SlotKey, Slot]:
    """The slots of a service by key, in order."""
    by_key: dict[SlotKey, list[Task]] = {}
    for task in tasks:
        by_key.setdefault(slot_key(service, task), []).append(task)
    ordered = sorted(by_key, key=_slot_order)
    return {key: Slot(key, _in_order(by_key[key])) for key in ordered}


def _in_order(tasks: list[Task]) -> tuple[Task, ...]:
    return tuple(sorted(tasks, key=creation_order) if len(tasks) > 1 else tasks)


def _slot_order(key: SlotKey) -> tuple[str, int]:
    return (key, 0) if isinstance(key, str) else ("", key)


def with_shutdown(task: Task, reason: str = "") -> Task:
    """The task with the desired state SHUTDOWN. ``reason`` says why it may not stay on its node."""
    return replace(task, desired_state=TaskState.SHUTDOWN, end_reason=reason)


def is_node_lost(node: Node | None) -> bool:
    """Whether the node was removed or is DOWN."""
    return node is None or node.status.state is NodeState.DOWN


def may_keep_running(task: Task, node: Node) -> bool:
    """Whether a task may stay on its node: the node is not drained and still matches constraints and platforms."""
    if node.spec.availability is NodeAvailability.DRAIN:
        return False
    return fits_placement(task.spec.placement, node)


def fits_placement(placement: Placement | None, node: Node) -> bool:
    """Whether a node meets the constraints and has one of the platforms."""
    return placement is None or (meets_constraints(placement, node) and platform_matches(placement.platforms, node))


def same_work(task: TaskSpec, wanted: TaskSpec) -> bool:
    """Whether two specs describe the same task.

    With which credentials its image is pulled does not count, nor whether a default is written out, nor the order of mounts: clients
    give back what inspection shows.
    """
    return _normalized(task) == _normalized(wanted)


def _normalized(task: TaskSpec) -> TaskSpec:
    container = task.container
    grace_ns = DEFAULT_STOP_GRACE_NS if container.stop_grace_ns is None else container.stop_grace_ns
    return replace(
        task,
        container=replace(
            container,
            registry_auth="",
            stop_grace_ns=grace_ns,
            dns=container.dns or DNSConfig(),
            mounts=tuple(sorted(container.mounts, key=lambda mount: mount.target)),
        ),
        resources=task.resources or ResourceRequirements(),
        restart=task.restart or RestartPolicy(),
        placement=task.placement or Placement(),
    )
