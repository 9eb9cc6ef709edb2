"""Entries for decisions about tasks: why one was created, placed, ended or failed. Pure.

Invariant: the reason follows from the task, its service, its slot and its node as they are after the change.
"""

from __future__ import annotations

import msgspec

from covey.objects import Node, Service, Task
from covey.states import NodeAvailability, NodeState, ServiceMode, TaskState
from covey.task_predicates import creation_order, should_run
from manager.store.view import View

_ENDED_BADLY = (TaskState.FAILED, TaskState.REJECTED, TaskState.ORPHANED)


class Decision(msgspec.Struct, frozen=True):
    """What happened to a task. ``action`` is create, place, wait, run, complete, fail, reject, orphan or end."""

    action: str
    text: str
    by_node: bool = False
    """Whether the task's node reported it."""


def decision(view: View, before: Task | None, after: Task | None) -> Decision | None:
    """What a change of a task says; None if it says nothing of interest."""
    if after is None or not after.service_id:
        return None
    if before is None:
        return Decision("create", _why_created(view, after))
    if should_run(before) and not should_run(after):
        return Decision("end", _why_ended(view, after))
    if after.status.state is not before.status.state:
        return _state_reached(view, after)
    if after.status.error != before.status.error and after.status.error and after.status.state < TaskState.ASSIGNED:
        return Decision("wait", f"waits: {after.status.error}")
    return None


def _state_reached(view: View, task: Task) -> Decision | None:
    state, error = task.status.state, task.status.error or task.status.message
    where = node_name(view, task.node_id)
    if state is TaskState.ASSIGNED:
        return Decision("place", _why_placed(view, task))
    if state is TaskState.RUNNING:
        return Decision("run", f"runs on {where}", by_node=True)
    if state is TaskState.COMPLETE:
        return Decision("complete", f"completed on {where}", by_node=True)
    if state is TaskState.ORPHANED:
        return Decision("orphan", f"given up on {where}: {error}")
    if state is TaskState.REJECTED:
        return Decision("reject", f"rejected by {where}: {error}", by_node=True)
    if state is TaskState.FAILED:
        return Decision("fail", f"failed on {where}: {error}", by_node=True)
    return None


def _why_created(view: View, task: Task) -> str:
    """Why a slot gets another task: its predecessor's end, or a new slot."""
    service = view.services.get(task.service_id)
    predecessor = _predecessor(view, task)
    if service is not None and service.spec.mode.is_job and predecessor is None:
        return f"created for run {(task.job_iteration or 0) + 1} of the job"
    if predecessor is None:
        return "created: the slot had no task"
    ended = predecessor.status
    if ended.state in _ENDED_BADLY or ended.state is TaskState.COMPLETE:
        what = "completed" if ended.state is TaskState.COMPLETE else ended.state.name.lower()
        why = f": {ended.error}" if ended.error else ""
        restarts = f" (restart {task.restarts})" if task.restarts else ""
        return f"created{restarts}: {predecessor.id} {what} on {node_name(view, predecessor.node_id)}{why}"
    return f"created in place of {predecessor.id}, {_loss(view, predecessor) or _replaced(service, predecessor)}"


def _why_placed(view: View, task: Task) -> str:
    """Where a task was placed, and how many of the service's are there: nodes with the fewest come first."""
    service = view.services.get(task.service_id)
    where = node_name(view, task.node_id)
    if service is not None and service.spec.mode.is_global:
        return f"placed on {where}: each eligible node has one"
    others = sum(
        1
        for other in view.tasks.by_node(task.node_id)
        if other.service_id == task.service_id and other.id != task.id and should_run(other)
    )
    tasks = "no other task" if not others else f"{others} other task{'s' if others > 1 else ''}"
    return f"placed on {where}, which has {tasks} of the service"


def _why_ended(view: View, task: Task) -> str:
    """Why a task was told to end."""
    if task.status.state.terminal:
        what = "completed" if task.status.state is TaskState.COMPLETE else "ended"
        return f"not run again: it {what}"
    service = view.services.get(task.service_id)
    if service is None:
        return "ends: the service was removed"
    return f"ends: {task.end_reason or _loss(view, task) or _replaced(service, task)}"


def _loss(view: View, task: Task) -> str:
    """What keeps a task's node from running it; empty if nothing does."""
    if not task.node_id:
        return ""
    node: Node | None = view.nodes.get(task.node_id)
    if node is None:
        return "whose node was removed"
    if node.status.state is NodeState.DOWN:
        return f"whose node {object_host(node)} is down"
    if node.spec.availability is NodeAvailability.DRAIN:
        return f"whose node {object_host(node)} is drained"
    return task.end_reason


def _replaced(service: Service | None, task: Task) -> str:
    """Why a task on a working node is not wanted any more."""
    if service is None:
        return "whose service was removed"
    if task.spec is not service.spec.task and task.spec != service.spec.task:
        return "which has another spec than the service"
    if service.spec.mode is ServiceMode.REPLICATED and task.slot > service.spec.replicas:
        return f"the service wants {service.spec.replicas} replicas"
    return "which is one too many, or is replaced"


def _predecessor(view: View, task: Task) -> Task | None:
    """The last task of the slot before this one."""
    service = view.services.get(task.service_id)
    is_global = service is not None and service.spec.mode.is_global
    others = [
        other
        for other in view.tasks.by_slot(task.service_id, task.slot)
        if other.id != task.id
        and (not is_global or other.node_id == task.node_id)
        and creation_order(other) < creation_order(task)
        and other.job_iteration == task.job_iteration
    ]
    return max(others, key=creation_order, default=None)


def node_name(view: View, node_id: str) -> str:
    """The host name of a node, else its id."""
    node = view.nodes.get(node_id)
    return object_host(node) if node is not None else node_id or "no node"


def object_host(node: Node) -> str:
    return node.description.hostname or node.id
