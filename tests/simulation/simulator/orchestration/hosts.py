"""Hosts that pretend to run tasks: start times, failures, cut links and power losses, drawn from the seed.

Invariant: a host that is cut off goes on with what it was last told; a host without power runs nothing. What a host knows of its tasks
it reports as soon as it can.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from covey.clock import MILLISECOND, SECOND
from covey.objects import Task, TaskStatus
from covey.states import TaskState
from covey.task_predicates import should_run
from manager.dispatcher.status_writer import apply_status
from manager.store.view import View
from tests.simulation.simulator.orchestration.event_queue import EventQueue
from tests.simulation.simulator.orchestration.leader import Operation

Report = Callable[[Operation], None]
_SLOWEST_NS = {
    TaskState.READY: 3 * SECOND,
    TaskState.RUNNING: 1 * SECOND,
    TaskState.SHUTDOWN: 2 * SECOND,
}
"""The longest time that a task needs to reach a state."""


class SimulatedHost:
    """``told`` are the tasks as the host last saw them, ``states`` those that it has brought them to."""

    def __init__(self, node_id: str, events: EventQueue, rng: random.Random, report: Report) -> None:
        self.node_id = node_id
        self.connected = True
        self.powered = True
        self.told: dict[str, Task] = {}
        self.states: dict[str, TaskState] = {}
        self._events, self._random, self._report = events, rng, report
        self._steps: dict[str, TaskState] = {}
        self._boot = 0

    def running(self) -> list[Task]:
        """The tasks whose containers run, whether the managers know or not."""
        return [self.told[key] for key, state in self.states.items() if state is TaskState.RUNNING]

    def assign(self, task: Task) -> None:
        """Takes a task of a commit, unless the host cannot hear it."""
        if self.connected and self.powered:
            self._take(task)

    def forget(self, task_id: str) -> None:
        """A task was removed from the store."""
        if self.connected and self.powered:
            self.told.pop(task_id, None)
            self.states.pop(task_id, None)

    def cut(self) -> None:
        self.connected = False

    def lose_power(self) -> None:
        """Every container ends. What was on disk is known after the boot."""
        self.powered = self.connected = False
        self._steps.clear()
        self._boot += 1
        for key, state in self.states.items():
            if TaskState.ASSIGNED < state <= TaskState.RUNNING:
                self.states[key] = TaskState.FAILED

    def connect(self, view: View) -> None:
        """The host is on again and has a session: it is told everything, and tells everything."""
        self.connected = self.powered = True
        current = {task.id: task for task in view.tasks.by_node(self.node_id)}
        for key in self.told.keys() - current.keys():
            self.told.pop(key)
            self.states.pop(key, None)
        for key, state in self.states.items():
            self._send(key, state)
        for task in sorted(current.values(), key=lambda item: item.id):
            self._take(task)

    def _take(self, task: Task) -> None:
        if task.status.state < TaskState.ASSIGNED:
            return
        self.told[task.id] = task
        self.states.setdefault(task.id, max(TaskState.ASSIGNED, task.status.state))
        self._work_on(task.id)

    def _work_on(self, task_id: str) -> None:
        """Begins the next step of a task, in place of one that is not wanted any more."""
        target = self._next_state(task_id)
        if target is None or self._steps.get(task_id) is target:
            return
        self._steps[task_id] = target
        slowest_ns = _SLOWEST_NS.get(target, 0)
        delay_ns = (
            self._random.uniform(20 * MILLISECOND, slowest_ns)
            if slowest_ns
            else self._random.uniform(30, 3600) * SECOND
        )
        boot = self._boot
        self._events.after(delay_ns, lambda: self._arrive(task_id, target, boot))

    def _next_state(self, task_id: str) -> TaskState | None:
        task, state = self.told.get(task_id), self.states.get(task_id)
        if task is None or state is None or state.terminal:
            return None
        if not should_run(task):
            return TaskState.SHUTDOWN
        if state < TaskState.READY:
            return TaskState.READY
        if state is TaskState.READY:
            return TaskState.RUNNING if task.desired_state >= TaskState.RUNNING else None
        return TaskState.FAILED if task.spec.container.labels.get("fails") else None

    def _arrive(self, task_id: str, state: TaskState, boot: int) -> None:
        if boot != self._boot or self._steps.get(task_id) is not state:
            return  # the power was lost meanwhile, or something else is wanted
        del self._steps[task_id]
        if self._next_state(task_id) is state:
            self.states[task_id] = state
            self._send(task_id, state)
        self._work_on(task_id)

    def _send(self, task_id: str, state: TaskState) -> None:
        if not self.connected or state <= TaskState.ASSIGNED:
            return
        status = TaskStatus(state=state, timestamp_ns=self._events.now_ns)
        self._report(lambda tx: apply_status(tx, self.node_id, task_id, status))
