"""Explains a service: what each of its tasks waits for that does not run. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from covey.clock import MILLISECOND, SECOND
from covey.explanation import MAX_NAMES, ServiceExplanation, WaitingTasks
from covey.objects import Service, Task, TaskStatus, replace
from covey.quantities import go_duration
from covey.states import NodeState, ServiceMode, TaskState, UpdateState
from covey.task_predicates import has_ended, waits_for_dependencies
from manager.explain.placement import explain_placement, waiting_tasks
from manager.orchestrator.slot_reconciler import stays_ended
from manager.orchestrator.slots import Slot, group_into_slots
from manager.scheduler.filter import node_name
from manager.scheduler.node_load import NodeLoadIndex
from manager.store.hypothetical import with_changes
from manager.store.view import View

MAX_ITEMS = 50
_STOPPED_UPDATES = (UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED)


def explain_service(view: View, service: Service, now_ns: int) -> ServiceExplanation:
    """Why the service has not all its tasks; nothing is waiting if it has."""
    index = NodeLoadIndex.from_view(view)
    slots = group_into_slots(service, view.tasks.by_service(service.id))
    live = [task for slot in slots.values() for task in slot.active if not task.status.state.terminal]
    unplaced = [task for task in live if _lacks_node(task)]
    waiting = explain_placement(view, index, unplaced, now_ns)
    for slot in slots.values():
        waiting += [_explain_task(view, slot, task, now_ns) for task in slot.active if _waits_otherwise(task)]
        waiting += _explain_end(view, slot)
    if service.spec.mode.is_global and not live and not service.spec.rollout.stopped:
        waiting += _explain_nodes(view, service, index, now_ns)
    return ServiceExplanation(
        service_id=service.id,
        name=service.spec.annotations.name,
        desired=_desired(service, live),
        running=sum(task.status.state is TaskState.RUNNING for task in live),
        waiting=tuple(_merged(waiting)),
        notes=tuple(_notes(service, now_ns)),
    )


def _lacks_node(task: Task) -> bool:
    return task.status.state is TaskState.PENDING and not waits_for_dependencies(task)


def _waits_otherwise(task: Task) -> bool:
    state = task.status.state
    return not state.terminal and state is not TaskState.RUNNING and not _lacks_node(task)


def _explain_task(view: View, slot: Slot, task: Task, now_ns: int) -> WaitingTasks:
    """What a task waits for that is not a node."""
    status = task.status
    if waits_for_dependencies(task):
        return waiting_tasks("dependency", [task], status.error or status.message)
    if status.state is TaskState.NEW:
        return waiting_tasks("network", [task], status.error or "the addresses of its networks are not allocated yet")
    if task.desired_state < TaskState.RUNNING and status.state >= TaskState.ASSIGNED:
        return _explain_successor(view, slot, task, now_ns)
    node = view.nodes.get(task.node_id)
    where = node_name(node) if node is not None else task.node_id
    if node is not None and node.status.state is not NodeState.READY:
        return waiting_tasks("start", [task], f"its node {where} is {node.status.state.name.lower()}")
    text = f"{status.state.name.lower()} on node {where}"
    return waiting_tasks(
        "start", [task], _with_last_end(view, slot, f"{text}: {status.error}" if status.error else text)
    )


def _explain_successor(view: View, slot: Slot, task: Task, now_ns: int) -> WaitingTasks:
    """A task that may not start yet: its restart is delayed, or its predecessor still runs."""
    if task.start_after_ns > now_ns:
        rest_ns = task.start_after_ns - now_ns
        due = go_duration(rest_ns - rest_ns % (100 * MILLISECOND))
        return waiting_tasks("restart", [task], _with_last_end(view, slot, f"its restart is delayed by another {due}"))
    before = next((other for other in slot.tasks if other.id != task.id and not has_ended(other)), None)
    if before is None:
        return waiting_tasks("start", [task], f"{task.status.state.name.lower()}, about to be started")
    return waiting_tasks(
        "predecessor", [task], f"waits until the task before it has stopped on node {_node_of(view, before)}"
    )


def _with_last_end(view: View, slot: Slot, text: str) -> str:
    """The text with how the last task of the slot failed, such as for an image that cannot be pulled."""
    failed = [task for task in slot.tasks if task.status.state in (TaskState.FAILED, TaskState.REJECTED)]
    return f"{text}; {_end(view, failed[-1])}" if failed and not failed[-1].end_reason else text


def _end(view: View, task: Task) -> str:
    verb = "was rejected" if task.status.state is TaskState.REJECTED else "failed"
    return f"the last one {verb} on node {_node_of(view, task)}: {_error(task.status)}"


def _error(status: TaskStatus) -> str:
    return status.error or status.message or "no reason was reported"


def _node_of(view: View, task: Task) -> str:
    node = view.nodes.get(task.node_id)
    return node_name(node) if node is not None else task.node_id or "that was removed"


def _explain_end(view: View, slot: Slot) -> list[WaitingTasks]:
    """A slot whose last task failed and is not started again."""
    if slot.active or not slot.tasks or not stays_ended(slot.tasks[-1]):
        return []
    last = slot.tasks[-1]
    if last.status.state is TaskState.COMPLETE:
        return []
    return [waiting_tasks("ended", [last], f"its restart policy allows no further attempt; {_end(view, last)}")]


def _explain_nodes(view: View, service: Service, index: NodeLoadIndex, now_ns: int) -> list[WaitingTasks]:
    """A global service for which no node is eligible: it has no task that could say so."""
    task = Task(
        id=f"{service.id}-on-any-node",
        spec=service.spec.task,
        service_id=service.id,
        service_annotations=service.spec.annotations,
        status=TaskStatus(state=TaskState.PENDING),
        desired_state=TaskState.RUNNING,
    )
    (found,) = explain_placement(with_changes(view, (task,), now_ns), index, (task,), now_ns)
    return [replace(found, cause="nodes", count=0, tasks=())] if found.refusals else []


def _notes(service: Service, now_ns: int) -> Iterable[str]:
    status = service.update_status
    if status is not None and status.state in _STOPPED_UPDATES:
        yield status.message
    schedule = service.schedule_status
    if schedule is not None and schedule.next_run_ns > now_ns:
        rest_ns = schedule.next_run_ns - now_ns
        yield f"its next scheduled run is due in {go_duration(rest_ns - rest_ns % SECOND)}"
    if service.spec.rollout.stopped:
        yield f"the service is stopped; start it with: covey service start {service.spec.annotations.name}"
    if service.spec.mode is ServiceMode.REPLICATED and not service.spec.replicas:
        yield "the service is scaled to 0 replicas"


def _desired(service: Service, live: list[Task]) -> int:
    match service.spec.mode:
        case ServiceMode.REPLICATED:
            return service.spec.replicas
        case ServiceMode.REPLICATED_JOB:
            return service.spec.max_concurrent
        case _:
            return len(live)


def _merged(waiting: Iterable[WaitingTasks]) -> list[WaitingTasks]:
    """Items with the same cause and reason as one, except those about nodes."""
    merged: dict[tuple[str, str, str], WaitingTasks] = {}
    for item in waiting:
        key = item.cause, item.reason, item.tasks[0] if item.refusals and item.tasks else ""
        known = merged.get(key)
        if known is None:
            merged[key] = item
        else:
            merged[key] = replace(known, count=known.count + item.count, tasks=(known.tasks + item.tasks)[:MAX_NAMES])
    return list(merged.values())[:MAX_ITEMS]
