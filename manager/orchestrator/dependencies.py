"""Dependencies between services: what new tasks wait for, which update of a dependency replaces tasks, and what ends last.

Invariant: only the start of a task waits. A running task is never ended because a dependency fails; an update of a dependency with
``restart`` replaces the tasks as a rolling update. Pure; called by the service planner.
"""

from __future__ import annotations

from collections.abc import Iterable

from covey.objects import Service, ServiceDependency, Task, UpdateStatus, replace
from covey.service_dependencies import dependency_names
from covey.states import DependencyCondition, ServiceMode, TaskState, UpdateState
from covey.task_predicates import should_run
from manager.job_runs import with_next_run
from manager.orchestrator.global_job import takes_part
from manager.orchestrator.slots import ServiceContext, Slot, group_into_slots, is_node_lost
from manager.store.view import View

_PAUSED = (UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED)
_UPDATING = (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED, *_PAUSED)
_WORDS = {
    DependencyCondition.STARTED: "start",
    DependencyCondition.HEALTHY: "be healthy",
    DependencyCondition.COMPLETED: "complete",
}


def unmet_dependency(context: ServiceContext) -> str:
    """A sentence about the first dependency that is not ready; empty if new tasks may start."""
    for dependency in context.service.spec.depends_on:
        service = context.view.services.by_name(dependency.service)
        if service is None and not dependency.optional:
            return f"waiting for {dependency.service} to exist"
        reason = _unmet(context, dependency, service) if service is not None else ""
        if reason:
            return reason
    return ""


def _unmet(context: ServiceContext, dependency: ServiceDependency, service: Service) -> str:
    other = replace(context, service=service, waiting_for="")
    slots = group_into_slots(service, context.view.tasks.by_service(service.id))
    counted = [_counted_tasks(other, slot) for slot in slots.values()]
    wanted = _wanted_slots(other, slots.values(), dependency.condition)
    reached = sum(any(_reached(task, dependency.condition) for task in tasks) for tasks in counted)
    if reached >= wanted:
        return ""
    failed = sum(bool(tasks) and _failed(tasks[-1]) for tasks in counted)
    suffix = f", {failed} failed" if failed else ""
    return f"waiting for {dependency.service} to {_WORDS[dependency.condition]} ({reached} of {wanted} tasks{suffix})"


def _wanted_slots(other: ServiceContext, slots: Iterable[Slot], condition: DependencyCondition) -> int:
    """How many slots of a dependency have to be ready. A job's tasks do not all run at the same time."""
    spec = other.service.spec
    match spec.mode:
        case ServiceMode.REPLICATED:
            return spec.replicas
        case ServiceMode.REPLICATED_JOB:
            total = spec.total_completions
            return total if condition is DependencyCondition.COMPLETED else min(spec.max_concurrent, total)
        case ServiceMode.GLOBAL:
            return max(1, sum(bool(slot.active) for slot in slots))
        case _:
            nodes = {slot.key for slot in slots if any(other.up_to_date(task) for task in slot.tasks)}
            nodes |= {node.id for node in other.view.nodes if takes_part(other, node)}
            return max(1, len(nodes))


def _counted_tasks(context: ServiceContext, slot: Slot) -> list[Task]:
    """The tasks of a dependency's slot that count: while it is updated, those of the new spec; not those on lost nodes."""
    status = context.service.update_status or UpdateStatus()
    all_specs = status.state in _PAUSED
    ran = [task for task in slot.tasks if task.status.state.terminal or not context.on_lost_node(task)]
    return [task for task in ran if all_specs or context.up_to_date(task)]


def _is_done(task: Task) -> bool:
    """Whether the task of a job has ended: it belongs to whatever run it was made for."""
    return task.job_iteration is not None and task.status.state.terminal


def _reached(task: Task, condition: DependencyCondition) -> bool:
    if task.status.state is TaskState.COMPLETE:
        return condition is not DependencyCondition.HEALTHY and task.desired_state < TaskState.REMOVE
    if condition is DependencyCondition.COMPLETED or not should_run(task):
        return False
    least = TaskState.RUNNING if condition is DependencyCondition.HEALTHY else TaskState.STARTING
    return least <= task.status.state <= TaskState.RUNNING


def _failed(task: Task) -> bool:
    return task.status.state in (TaskState.FAILED, TaskState.REJECTED)


def with_dependency_state(context: ServiceContext) -> Service:
    """The service with what it waits for, and with a new task version if a dependency with ``restart`` was updated."""
    service = context.service
    versions = {
        item.service: version
        for item in service.spec.depends_on
        if item.restart and (version := _restart_version(context, item))
    }
    known = service.dependency_versions
    changed = replace(service, waiting_for=context.waiting_for, dependency_versions=versions)
    if all(known.get(name, version) == version for name, version in versions.items()):
        return changed
    task = replace(service.spec.task, force_update=service.spec.task.force_update + 1)
    spec = replace(service.spec, task=task)
    changed = replace(changed, spec=spec, spec_version=service.meta.version + 1, update_status=None)
    return with_next_run(changed, context.now_ns)


def _restart_version(context: ServiceContext, dependency: ServiceDependency) -> str:
    """The version of a dependency that the tasks belong to: the last known one until its update is over and its condition holds."""
    known = context.service.dependency_versions.get(dependency.service, "")
    service = context.view.services.by_name(dependency.service)
    if service is None or (service.update_status or UpdateStatus()).state in _UPDATING:
        return known
    other = replace(context, service=service, waiting_for="")
    tasks = [task for task in context.view.tasks.by_service(service.id) if should_run(task) and not _is_done(task)]
    settled = all(other.up_to_date(task) for task in tasks) and not _unmet(context, dependency, service)
    return f"{service.id}:{service.spec_version}" if settled else known


def dependants_still_end(view: View, name: str, dependants: Iterable[str]) -> bool:
    """Whether tasks that depend on a service were told to end, and may still run on a node that will report their end."""
    return any(
        _ends(view, task) and name in dependency_names(task.service_annotations.labels)
        for service_id in dependants
        for task in view.tasks.by_service(service_id)
    )


def _ends(view: View, task: Task) -> bool:
    if should_run(task) and view.services.get(task.service_id) is not None:
        return False  # a task of a removed service is about to be told
    if task.status.state.terminal or task.status.state < TaskState.ASSIGNED:
        return False
    return not is_node_lost(view.nodes.get(task.node_id))
