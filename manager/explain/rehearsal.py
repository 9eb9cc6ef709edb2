"""Rehearsal of a service's change: the leader's own planners on a hypothetical view, with agents that do at once what they are told.

Invariant: nothing is stored, and no time passes: waits end by moving the hypothetical clock. What the planners would do is what they do
here: rolling updates that get stuck for want of room get stuck. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from covey.ids import IdSource
from covey.objects import Object, Service, Task, UpdateConfig, replace
from covey.states import NodeState, ServiceMode, TaskState
from covey.task_predicates import has_ended
from manager.allocator.planner import AllocatorPlanner
from manager.job_runs import with_next_run
from manager.loop import Plan, combine
from manager.loop.plan import current_object
from manager.orchestrator.service_planner import plan_service
from manager.scheduler.planner import SchedulerPlanner
from manager.scheduler.spread import ImageNodes, no_image_nodes
from manager.store.hypothetical import with_changes
from manager.store.view import View

MAX_ROUNDS = 120
_MAX_BATCHES = 20
_MAX_SLOTS_PLANNED = 20_000
"""An update is rehearsed in at most so many batches, and in fewer if it has so many slots: each batch plans them all."""


class Rehearsed(msgspec.Struct, frozen=True):
    """The view in the end. ``settled`` says that nothing more would happen, after less than ``MAX_ROUNDS`` passes of the planners."""

    view: View
    settled: bool


def rehearse(
    view: View, service_id: str, now_ns: int, ids: IdSource, image_nodes: ImageNodes = no_image_nodes
) -> Rehearsed:
    """The view once nothing more happens to the service's tasks, and to those that had to end for them."""
    return _Rehearsal(_hastened(view, service_id, now_ns), service_id, now_ns, ids, image_nodes).run()


class _Rehearsal:
    """The hypothetical cluster: ``view`` at ``now_ns``."""

    def __init__(self, view: View, service_id: str, now_ns: int, ids: IdSource, image_nodes: ImageNodes) -> None:
        self.view = view
        self.now_ns = now_ns
        self._service_ids = {service_id: None}
        self._ids = ids
        self._allocator = AllocatorPlanner()
        self._scheduler = SchedulerPlanner(image_nodes)
        self._allocator.reset(view)
        self._scheduler.reset(view)

    def run(self) -> Rehearsed:
        for _ in range(MAX_ROUNDS):
            plan = combine([plan_service(self.view, key, self.now_ns, self._ids) for key in self._service_ids])
            changed = self._apply(plan)
            changed |= self._apply(self._allocator.plan(self.view, self.now_ns))
            changed |= self._apply(self._scheduler.plan(self.view, self.now_ns))
            changed |= self._run_agents()
            if not changed and plan.wake_at_ns <= self.now_ns:
                return Rehearsed(self.view, settled=True)
            if not changed:
                self.now_ns = plan.wake_at_ns
        return Rehearsed(self.view, settled=False)

    def _apply(self, plan: Plan) -> bool:
        for step in plan.steps:
            self._put((*step.creates, *step.updates), step.removes)
        return bool(plan.steps)

    def _run_agents(self) -> bool:
        """Every agent that is connected has done what it was told; tasks to be removed are gone."""
        tasks = [task for key in self._service_ids for task in self.view.tasks.by_service(key)]
        gone = [task for task in tasks if task.desired_state >= TaskState.REMOVE and has_ended(task)]
        changed = [after for task in tasks if (after := self._after_agent(task)) is not None]
        self._put(changed, gone)
        return bool(changed or gone)

    def _after_agent(self, task: Task) -> Task | None:
        """The task as its agent reports it next; None if it reports nothing new."""
        node = self.view.nodes.get(task.node_id)
        if task.status.state < TaskState.ASSIGNED or task.status.state.terminal or node is None:
            return None
        if node.status.state is not NodeState.READY:
            return None
        state = min(task.desired_state, TaskState.RUNNING)
        if task.desired_state > TaskState.COMPLETE:
            state = TaskState.SHUTDOWN
        if task.status.state >= state:
            return None
        return replace(task, status=replace(task.status, state=state, timestamp_ns=self.now_ns))

    def _put(self, changed: Iterable[Object], removed: Iterable[Object] = ()) -> None:
        changed, removed = tuple(changed), tuple(removed)
        if not changed and not removed:
            return
        before = self.view
        self.view = with_changes(before, changed, self.now_ns, removed=removed)
        for planner in (self._allocator, self._scheduler):
            for item in changed:
                self._follow(item)
                planner.observe(current_object(before, item), current_object(self.view, item))
            for item in removed:
                planner.observe(item, None)

    def _follow(self, item: Object) -> None:
        """A service whose tasks end for others, too, is part of what happens."""
        if isinstance(item, Task) and item.service_id and item.desired_state > TaskState.COMPLETE:
            self._service_ids[item.service_id] = None


def _hastened(view: View, service_id: str, now_ns: int) -> View:
    """The service with an update that neither pauses nor watches, in few batches. A job with a schedule runs now."""
    service = view.services.get(service_id)
    if service is None:
        return view
    if service.spec.mode.is_job:
        unscheduled = replace(service, spec=replace(service.spec, schedule=None), schedule_status=None)
        return with_changes(view, (with_next_run(unscheduled, now_ns),), now_ns) if service.spec.schedule else view
    update = service.spec.update or UpdateConfig()
    slots = service.spec.replicas if service.spec.mode is ServiceMode.REPLICATED else len(view.nodes)
    batches = max(2, min(_MAX_BATCHES, _MAX_SLOTS_PLANNED // max(slots, 1)))
    parallelism = update.parallelism and max(update.parallelism, math.ceil(slots / batches))
    hastened: Service = replace(
        service, spec=replace(service.spec, update=replace(update, parallelism=parallelism, delay_ns=0, monitor_ns=0))
    )
    return with_changes(view, (hastened,), now_ns)
