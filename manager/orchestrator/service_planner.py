"""Service planner: one plan per service, made of scaling, slot reconciliation and the rolling update, or of the runs of a job.

Invariant: a change makes only those services dirty that it can affect. Intermediate task states that no decision depends on make none
dirty. Run by ``manager.leader``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from covey.ids import IdSource
from covey.objects import Node, Object, Service, Task, replace
from covey.states import ServiceMode, TaskState
from manager.loop import EMPTY, KeyedPlanner, Plan, Step, combine
from manager.orchestrator import (
    dependencies,
    global_,
    jobs,
    replicated,
    rolling_update,
    scheduled_job,
    slot_reconciler,
)
from manager.orchestrator.dependency_index import DependencyIndex
from manager.orchestrator.settled_slots import SettledSlots
from manager.orchestrator.slots import PlacementPreview, ServiceContext, group_into_slots, no_preview
from manager.store.view import View


def plan_service(
    view: View,
    service_id: str,
    now_ns: int,
    new_id: IdSource,
    dependants: Collection[str] = (),
    *,
    preview: PlacementPreview = no_preview,
) -> Plan:
    """Everything that a service needs now: scaling, reconciliation of its slots and the next steps of its update.

    Args:
        view: the objects.
        service_id: the service, which may be removed already.
        now_ns: the time.
        new_id: makes the ids of tasks.
        dependants: the ids of services, existing or removed, that depend on it.
        preview: where the scheduler would place a task.
    """
    service, tasks = view.services.get(service_id), view.tasks.by_service(service_id)
    if service is None:
        removed = replicated.with_removal(tasks) if service_id else ()
        if removed and _ends_later(view, removed[0].service_annotations.name, dependants):
            return EMPTY  # the end of the last dependant's task makes the service dirty
        return Plan(tuple([Step(updates=(task,)) for task in removed]))
    context = ServiceContext(view, service, now_ns, new_id, preview=preview)
    context = replace(context, waiting_for=dependencies.unmet_dependency(context))
    if service.spec.schedule is not None:
        plan = scheduled_job.plan_scheduled_job(context, tasks)
    elif service.spec.mode.is_job:
        plan = jobs.plan_job(context, tasks)
    else:
        plan = _plan_replicas(context, tasks, dependants)
    own = dependencies.with_dependency_state(context)
    if own == service or any(isinstance(item, Service) for step in plan.steps for item in step.updates):
        return plan  # a change of the update's status comes first, and makes the service dirty
    return combine([plan, Plan((Step(updates=(own,)),))])


def _plan_replicas(context: ServiceContext, tasks: Iterable[Task], dependants: Collection[str]) -> Plan:
    """The plan of a service that is not a job."""
    service = context.service
    slots = group_into_slots(service, tasks)
    by_count = service.spec.mode is ServiceMode.REPLICATED
    if service.spec.rollout.stopped:
        scaled = replicated.stop_all(slots)
    else:
        scaled = replicated.scale_replicated(context, slots) if by_count else global_.scale_global(context, slots)
    if any(step.updates for step in scaled.steps) and _ends_later(
        context.view, service.spec.annotations.name, dependants
    ):
        scaled = replace(scaled, steps=())
    settled = SettledSlots(context)
    unsettled = [slot for slot in scaled.remaining if not settled.is_settled(slot)]
    reconciled = {slot.key: slot_reconciler.reconcile_slot(context, slot) for slot in unsettled}
    busy = {key for key, plan in reconciled.items() if plan.steps}
    updated = rolling_update.plan_update(context, scaled.remaining, busy, unsettled)
    return combine([Plan(scaled.steps), *reconciled.values(), updated])


def _ends_later(view: View, name: str, dependants: Collection[str]) -> bool:
    return bool(dependants) and dependencies.dependants_still_end(view, name, dependants)


class ServicePlanner(KeyedPlanner[str]):
    """Planner of services, keyed by service id."""

    def __init__(self, new_id: IdSource, preview: PlacementPreview = no_preview) -> None:
        super().__init__()
        self._new_id = new_id
        self._preview = preview
        self._changed_nodes: dict[str, None] = {}
        self._dependencies = DependencyIndex()
        self._planned_ns = 0

    def reset(self, view: View) -> None:
        super().reset(view)
        self._dependencies = DependencyIndex.from_view(view)
        self._changed_nodes.clear()

    def all_keys(self, view: View) -> Iterable[str]:
        ids = dict.fromkeys(service.id for service in view.services)
        return ids | dict.fromkeys(task.service_id for task in view.tasks if task.service_id)

    def keys_of(self, before: Object | None, after: Object | None) -> Iterable[str]:
        item = after if after is not None else before
        if isinstance(item, Service):
            self._dependencies.observe_service(item, removed=after is None)
            return (item.id, *self._dependencies.dependants(item.spec.annotations.name))
        if isinstance(item, Task):
            return self._keys_of_task(item, before, after)
        if isinstance(item, Node) and _node_change_matters(before, after):
            self._changed_nodes[item.id] = None
        return ()

    def _keys_of_task(self, item: Task, before: Object | None, after: Object | None) -> Iterable[str]:
        """The task's service, and those that its start or end may let start or end."""
        if not item.service_id:
            return ()
        related = self._dependencies.related(item) if _task_progress_matters(before, after) else ()
        return (item.service_id, *related) if _task_change_matters(before, after) else related

    def plan(self, view: View, now_ns: int) -> Plan:
        if now_ns < self._planned_ns - scheduled_job.CLOCK_JUMP_NS:
            self.reset(view)  # the clock was set back: no timer counts any more
        self._planned_ns = now_ns
        if self._changed_nodes:
            for node_id in self._changed_nodes:
                for task in view.tasks.by_node(node_id):
                    if task.service_id:
                        self._dirty |= dict.fromkeys((task.service_id, *self._dependencies.related(task)))
            self._dirty |= dict.fromkeys(service.id for service in view.services if _uses_new_nodes(service))
            self._changed_nodes.clear()
        return super().plan(view, now_ns)

    def plan_key(self, view: View, key: str, now_ns: int) -> Plan:
        dependants = self._dependencies.dependants_of_id(key)
        if view.services.get(key) is None and not view.tasks.by_service(key):
            self._dependencies.forget(key)
        return plan_service(view, key, now_ns, self._new_id, dependants, preview=self._preview)


def _uses_new_nodes(service: Service) -> bool:
    """Whether tasks may come to a node that had none of the service's."""
    rebalancing = service.update_status is not None and service.update_status.rebalancing
    return service.spec.mode.is_global or service.spec.rollout.rebalance or rebalancing


def _task_change_matters(before: Object | None, after: Object | None) -> bool:
    """Whether a change of a task can affect a decision. The states before RUNNING that an agent reports cannot."""
    if not isinstance(before, Task) or not isinstance(after, Task):
        return True
    if before.desired_state != after.desired_state or before.node_id != after.node_id:
        return True
    if before.endpoint != after.endpoint or before.service_id != after.service_id:
        return True
    return before.status.state != after.status.state and after.status.state >= TaskState.RUNNING


def _task_progress_matters(before: Object | None, after: Object | None) -> bool:
    """Whether a change of a task can affect services that depend on its own, or that its own depends on."""
    if not isinstance(before, Task) or not isinstance(after, Task):
        return True
    started = before.status.state != after.status.state and after.status.state >= TaskState.STARTING
    return started or before.desired_state != after.desired_state or before.node_id != after.node_id


def _node_change_matters(before: Object | None, after: Object | None) -> bool:
    """Whether a change of a node can affect which tasks may run on it."""
    if not isinstance(before, Node) or not isinstance(after, Node):
        return True
    if before.status.state != after.status.state or before.status.addr != after.status.addr:
        return True
    return before.spec != after.spec or before.role != after.role or before.description != after.description
