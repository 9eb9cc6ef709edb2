"""Rehearsal of a service's change: the leader's own planners on a hypothetical view, with agents that do at once what they are told.

Invariant: nothing is stored, and no time passes: waits end by moving the hypothetical clock. What the planners would do is what they do
here: rolling updates that get stuck for want of room get stuck. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from covey.ids import IdSource
from covey.objects import Object, Service, Task, replace
from covey.states import NodeState, ServiceMode, TaskState
from covey.task_predicates import has_ended
from manager.allocator.planner import AllocatorPlanner
from manager.loop import Plan
from manager.loop.plan import current_object
from manager.orchestrator.service_planner import plan_service
from manager.scheduler.planner import SchedulerPlanner
from manager.scheduler.spread import ImageNodes, no_image_nodes
from manager.store.hypothetical import with_changes
from manager.store.view import View

MAX_ROUNDS = 120
_MAX_BATCHES = 20
"""An update of many slots is rehearsed in this many batches at most."""


def rehearse(view: View, service_id: str, now_ns: int, ids: IdSource, image_nodes: ImageNodes = no_image_nodes) -> View:
    """The view once nothing more happens to the service's tasks, at most ``MAX_ROUNDS`` passes of the planners later."""
    return _Rehearsal(_hastened(view, service_id, now_ns), service_id, now_ns, ids, image_nodes).run()


class _Rehearsal:
    """The hypothetical cluster: ``view`` at ``now_ns``."""

    def __init__(self, view: View, service_id: str, now_ns: int, ids: IdSource, image_nodes: ImageNodes) -> None:
        self.view = view
        self.now_ns = now_ns
        self._service_id = service_id
        self._ids = ids
        self._allocator = AllocatorPlanner()
        self._scheduler = SchedulerPlanner(image_nodes)
        self._allocator.reset(view)
        self._scheduler.reset(view)

    def run(self) -> View:
        for _ in range(MAX_ROUNDS):
            plan = plan_service(self.view, self._service_id, self.now_ns, self._ids)
            changed = self._apply(plan)
            changed |= self._apply(self._allocator.plan(self.view, self.now_ns))
            changed |= self._apply(self._scheduler.plan(self.view, self.now_ns))
            changed |= self._run_agents()
            if not changed and plan.wake_at_ns <= self.now_ns:
                break
            if not changed:
                self.now_ns = plan.wake_at_ns
        return self.view

    def _apply(self, plan: Plan) -> bool:
        for step in plan.steps:
            self._put((*step.creates, *step.updates), step.removes)
        return bool(plan.steps)

    def _run_agents(self) -> bool:
        """Every agent that is connected has done what it was told; tasks to be removed are gone."""
        tasks = self.view.tasks.by_service(self._service_id)
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
                planner.observe(current_object(before, item), current_object(self.view, item))
            for item in removed:
                planner.observe(item, None)


def _hastened(view: View, service_id: str, now_ns: int) -> View:
    """The service with an update that neither pauses nor watches, in few batches."""
    service = view.services.get(service_id)
    if service is None or service.spec.update is None or service.spec.mode.is_job:
        return view
    update = service.spec.update
    slots = service.spec.replicas if service.spec.mode is ServiceMode.REPLICATED else len(view.nodes)
    parallelism = update.parallelism and max(update.parallelism, math.ceil(slots / _MAX_BATCHES))
    hastened: Service = replace(
        service, spec=replace(service.spec, update=replace(update, parallelism=parallelism, delay_ns=0, monitor_ns=0))
    )
    return with_changes(view, (hastened,), now_ns)
