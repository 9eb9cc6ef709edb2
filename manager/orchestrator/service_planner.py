"""Service planner: one plan per service, made of scaling, slot reconciliation and the rolling update.

Invariant: a change makes only those services dirty that it can affect. Intermediate task states that no decision depends on make none
dirty. Run by ``manager.leader``.
"""

from __future__ import annotations

from collections.abc import Iterable

from covey.ids import IdSource
from covey.objects import Node, Object, Service, Task
from covey.states import ServiceMode, TaskState
from manager.loop import EMPTY, KeyedPlanner, Plan, Step, combine
from manager.orchestrator import global_, replicated, rolling_update, slot_reconciler
from manager.orchestrator.slots import ServiceContext, group_into_slots
from manager.store.view import View


def plan_service(view: View, service_id: str, now_ns: int, new_id: IdSource) -> Plan:
    """All that a service needs now."""
    service, tasks = view.services.get(service_id), view.tasks.by_service(service_id)
    if service is None:
        forgotten = replicated.with_removal(tasks) if service_id else ()
        return Plan(tuple([Step(updates=(task,)) for task in forgotten]))
    if service.spec.mode not in {ServiceMode.REPLICATED, ServiceMode.GLOBAL}:
        return EMPTY  # jobs: the control API refuses them
    context = ServiceContext(view, service, now_ns, new_id)
    slots = group_into_slots(service, tasks)
    by_count = service.spec.mode is ServiceMode.REPLICATED
    scaled = replicated.scale_replicated(context, slots) if by_count else global_.scale_global(context, slots)
    kept = {slot.key: slot_reconciler.reconcile_slot(context, slot) for slot in scaled.remaining}
    busy = {key for key, plan in kept.items() if plan.steps}
    rolled = rolling_update.plan_update(context, scaled.remaining, busy)
    return combine([Plan(scaled.steps), *kept.values(), rolled])


class ServicePlanner(KeyedPlanner[str]):
    """Keyed by the service's id."""

    def __init__(self, new_id: IdSource) -> None:
        super().__init__()
        self._new_id = new_id
        self._changed_nodes: dict[str, None] = {}

    def reset(self, view: View) -> None:
        super().reset(view)
        self._changed_nodes.clear()

    def all_keys(self, view: View) -> Iterable[str]:
        ids = dict.fromkeys(service.id for service in view.services)
        return ids | dict.fromkeys(task.service_id for task in view.tasks if task.service_id)

    def keys_of(self, before: Object | None, after: Object | None) -> Iterable[str]:
        item = after if after is not None else before
        if isinstance(item, Service):
            return (item.id,)
        if isinstance(item, Task):
            return (item.service_id,) if item.service_id and _task_change_matters(before, after) else ()
        if isinstance(item, Node) and _node_change_matters(before, after):
            self._changed_nodes[item.id] = None
        return ()

    def plan(self, view: View, now_ns: int) -> Plan:
        if self._changed_nodes:
            for node_id in self._changed_nodes:
                self._dirty |= dict.fromkeys(task.service_id for task in view.tasks.by_node(node_id) if task.service_id)
            everywhere = [service for service in view.services if service.spec.mode is ServiceMode.GLOBAL]
            self._dirty |= dict.fromkeys(service.id for service in everywhere)
            self._changed_nodes.clear()
        return super().plan(view, now_ns)

    def plan_key(self, view: View, key: str, now_ns: int) -> Plan:
        return plan_service(view, key, now_ns, self._new_id)


def _task_change_matters(before: Object | None, after: Object | None) -> bool:
    """Whether a change of a task can change a decision: the small steps of an agent cannot."""
    if not isinstance(before, Task) or not isinstance(after, Task):
        return True
    if before.desired_state != after.desired_state or before.node_id != after.node_id:
        return True
    if before.endpoint != after.endpoint or before.service_id != after.service_id:
        return True
    return before.status.state != after.status.state and after.status.state >= TaskState.RUNNING


def _node_change_matters(before: Object | None, after: Object | None) -> bool:
    """Whether tasks may have to go or come."""
    if not isinstance(before, Node) or not isinstance(after, Node):
        return True
    if before.status.state != after.status.state or before.status.addr != after.status.addr:
        return True
    return before.spec != after.spec or before.role != after.role or before.description != after.description
