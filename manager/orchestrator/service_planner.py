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
    """Everything that a service needs now: scaling, reconciliation of its slots and the next steps of its update."""
    service, tasks = view.services.get(service_id), view.tasks.by_service(service_id)
    if service is None:
        removed = replicated.with_removal(tasks) if service_id else ()
        return Plan(tuple([Step(updates=(task,)) for task in removed]))
    if service.spec.mode not in {ServiceMode.REPLICATED, ServiceMode.GLOBAL}:
        return EMPTY  # the control API refuses jobs
    context = ServiceContext(view, service, now_ns, new_id)
    slots = group_into_slots(service, tasks)
    by_count = service.spec.mode is ServiceMode.REPLICATED
    scaled = replicated.scale_replicated(context, slots) if by_count else global_.scale_global(context, slots)
    reconciled = {slot.key: slot_reconciler.reconcile_slot(context, slot) for slot in scaled.remaining}
    busy = {key for key, plan in reconciled.items() if plan.steps}
    updated = rolling_update.plan_update(context, scaled.remaining, busy)
    return combine([Plan(scaled.steps), *reconciled.values(), updated])


class ServicePlanner(KeyedPlanner[str]):
    """Planner of services, keyed by service id."""

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
            global_services = [service for service in view.services if service.spec.mode is ServiceMode.GLOBAL]
            self._dirty |= dict.fromkeys(service.id for service in global_services)
            self._changed_nodes.clear()
        return super().plan(view, now_ns)

    def plan_key(self, view: View, key: str, now_ns: int) -> Plan:
        return plan_service(view, key, now_ns, self._new_id)


def _task_change_matters(before: Object | None, after: Object | None) -> bool:
    """Whether a change of a task can affect a decision. The states before RUNNING that an agent reports cannot."""
    if not isinstance(before, Task) or not isinstance(after, Task):
        return True
    if before.desired_state != after.desired_state or before.node_id != after.node_id:
        return True
    if before.endpoint != after.endpoint or before.service_id != after.service_id:
        return True
    return before.status.state != after.status.state and after.status.state >= TaskState.RUNNING


def _node_change_matters(before: Object | None, after: Object | None) -> bool:
    """Whether a change of a node can affect which tasks may run on it."""
    if not isinstance(before, Node) or not isinstance(after, Node):
        return True
    if before.status.state != after.status.state or before.status.addr != after.status.addr:
        return True
    return before.spec != after.spec or before.role != after.role or before.description != after.description
