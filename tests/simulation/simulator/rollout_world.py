"""A seeded world of one service on a few nodes, with the real planner of services and the real scheduler, and a clock of its own.

Agents report late, and each start and end takes a random time. After every commit the world checks that no slot serves less than its
update policy allows.
"""

from __future__ import annotations

import random
from collections import Counter

from covey.clock import MILLISECOND, SECOND
from covey.objects import Node, Object, Task, UpdateStatus, replace
from covey.states import NodeAvailability, NodeState, TaskState
from covey.task_predicates import should_run
from manager.loop import Plan
from manager.orchestrator.reaper import ReaperPlanner
from manager.orchestrator.service_planner import ServicePlanner
from manager.scheduler.planner import SchedulerPlanner
from manager.scheduler.preview import preview_placement
from manager.store.view import View
from tests.support.planning import NOW, Ids, applied, changed, view_of

TICK_NS = 200 * MILLISECOND


class RolloutWorld:
    """``least`` is the number of slots that must serve; checked after each step once ``guarded`` is set."""

    def __init__(self, seed: int, *objects: Object) -> None:
        self.random = random.Random(seed)
        self.now_ns = NOW
        self.ids = Ids()
        self.view = view_of(*objects)
        self.least = 0
        self.guarded = False
        self.crashing: set[str] = set()
        """Images whose tasks fail when they start."""
        self._due: dict[str, int] = {}
        self.elect()

    def elect(self) -> None:
        """A new leader begins from a snapshot."""
        self.planners = [ServicePlanner(self.ids, preview_placement), SchedulerPlanner(), ReaperPlanner()]
        for planner in self.planners:
            planner.reset(self.view)

    @property
    def status(self) -> UpdateStatus:
        return self.view.services.get("web").update_status or UpdateStatus()

    def serving(self) -> set[int]:
        """The slots with a task that runs and should."""
        return {task.slot for task in self.view.tasks if task.status.state is TaskState.RUNNING and should_run(task)}

    def counts(self) -> Counter[str]:
        """Tasks that should run, by node."""
        return Counter([task.node_id for task in self.view.tasks if should_run(task)])

    def change(self, *objects: Object) -> None:
        self._commit(changed(self.view, *objects, now_ns=self.now_ns))

    def set_node(self, name: str, *, state: NodeState | None = None, **spec: NodeAvailability) -> None:
        node: Node = self.view.nodes.get(name)
        if state is not None:
            node = replace(node, status=replace(node.status, state=state, changed_at_ns=self.now_ns))
        self.change(replace(node, spec=replace(node.spec, **spec)))

    def run(self, seconds: float) -> None:
        """Lets planners and agents work for a time of this world."""
        until = self.now_ns + int(seconds * SECOND)
        while self.now_ns < until:
            self.now_ns += TICK_NS
            self._act()
            if self.random.random() < 0.02:
                self.elect()
            for planner in self.planners:
                plan: Plan = planner.plan(self.view, self.now_ns)
                self._commit(applied(self.view, plan, self.now_ns))

    def _commit(self, view: View) -> None:
        before, self.view = self.view, view
        for table in ("nodes", "services", "tasks"):
            old = {item.id: item for item in getattr(before, table)}
            new = {item.id: item for item in getattr(view, table)}
            for key in sorted(old.keys() | new.keys()):
                if old.get(key) is not new.get(key):
                    for planner in self.planners:
                        planner.observe(old.get(key), new.get(key))
        if self.guarded:
            assert len(self.serving()) >= self.least, f"{sorted(self.serving())} serve, {self.least} must"

    def _act(self) -> None:
        """Allocates addresses, and lets agents take a step whose time has come."""
        for task in sorted(self.view.tasks, key=lambda item: item.id):
            node = self.view.nodes.get(task.node_id)
            if task.status.state.terminal or (node is not None and node.status.state is NodeState.DOWN):
                continue
            if self._due.setdefault(f"{task.id} {task.status.state} {task.desired_state}", self._later()) > self.now_ns:
                continue
            state = self._next_state(task)
            if state is not None:
                status = replace(task.status, state=state, timestamp_ns=self.now_ns)
                self.change(replace(task, status=status))

    def _later(self) -> int:
        return self.now_ns + self.random.choice([0, TICK_NS, SECOND])

    def _next_state(self, task: Task) -> TaskState | None:
        state = task.status.state
        if not should_run(task):
            return TaskState.SHUTDOWN if state >= TaskState.ASSIGNED else None
        if state is TaskState.NEW:
            return TaskState.PENDING
        if state is TaskState.ASSIGNED:
            return TaskState.READY
        if state is TaskState.READY and task.desired_state >= TaskState.RUNNING:
            return TaskState.FAILED if task.spec.container.image in self.crashing else TaskState.RUNNING
        return None
