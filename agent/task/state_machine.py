"""Task state machine: the next step of a task, from its record and its observed container. Pure.

Invariant: states only go up: ASSIGNED ACCEPTED PREPARING READY STARTING RUNNING, then one of COMPLETE SHUTDOWN FAILED REJECTED.
``TRANSITIONS`` lists every legal transition; any other raises ``IllegalTransitionError`` with the recent history. The machine has no
memory of its own: after a restart of the daemon the same record and the same container give the same step.

Called by ``agent.worker.task_controller``. The messages are those that users of Docker Swarm know.
"""

from collections.abc import Callable
from enum import Enum

import msgspec

from agent.container.model import HealthStatus
from covey.errors import CoveyError
from covey.objects import ContainerStatus, PortConfig, Task, TaskStatus
from covey.states import TaskState
from covey.task_predicates import should_run

S = TaskState

HISTORY_LIMIT = 20
HEALTH_OUTPUT_LIMIT = 300
"""Characters of a failed health check's output in the task's error."""

TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    S.ASSIGNED: frozenset({S.ACCEPTED, S.SHUTDOWN, S.REJECTED}),
    S.ACCEPTED: frozenset({S.PREPARING, S.SHUTDOWN, S.REJECTED}),
    S.PREPARING: frozenset({S.READY, S.SHUTDOWN, S.REJECTED}),
    S.READY: frozenset({S.STARTING, S.SHUTDOWN, S.FAILED, S.REJECTED}),
    S.STARTING: frozenset({S.RUNNING, S.COMPLETE, S.SHUTDOWN, S.FAILED, S.REJECTED}),
    S.RUNNING: frozenset({S.COMPLETE, S.SHUTDOWN, S.FAILED, S.REJECTED}),
}

_MESSAGES = {
    S.ACCEPTED: "accepted",
    S.PREPARING: "preparing",
    S.READY: "prepared",
    S.STARTING: "starting",
    S.RUNNING: "started",
    S.COMPLETE: "finished",
    S.SHUTDOWN: "shutdown",
}


class IllegalTransitionError(CoveyError):
    """A transition that ``TRANSITIONS`` does not list: a bug in the caller."""

    def __init__(self, task_id: str, before: TaskState, after: TaskState, history: tuple[TaskState, ...]) -> None:
        path = " ".join(state.name for state in history) or "none"
        super().__init__(f"task {task_id} cannot go from {before.name} to {after.name}; its recent states: {path}")
        self.task_id = task_id
        self.before = before
        self.after = after
        self.history = history


class ContainerPhase(Enum):
    """The observed phase of a task's container."""

    ABSENT = "absent"
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


class Observation(msgspec.Struct, frozen=True):
    """The observed container. ``health_output`` is what its last health check said. ``waits_for`` names secrets and configs that a
    manager must still send before the task can be prepared, ``ports`` are those that this node publishes for the task.
    """

    phase: ContainerPhase = ContainerPhase.ABSENT
    exit_code: int = 0
    pid: int = 0
    oom_killed: bool = False
    error: str = ""
    health: HealthStatus = HealthStatus.NONE
    health_output: str = ""
    waits_for: str = ""
    ports: tuple[PortConfig, ...] = ()


class TaskRecord(msgspec.Struct, frozen=True):
    """The agent's record of a task. ``assigned`` is false once the task is withdrawn; ``history`` holds its recent states."""

    task: Task
    status: TaskStatus
    container_id: str = ""
    assigned: bool = True
    released: bool = False
    history: tuple[TaskState, ...] = ()
    hooks_done: bool = False
    """Whether the hooks after the start have run."""

    @property
    def should_end(self) -> bool:
        """Whether the task must end."""
        return not self.assigned or not should_run(self.task)


class Prepare(msgspec.Struct, frozen=True):
    """Create the network namespace, the files and the container; an existing container is replaced."""


class Start(msgspec.Struct, frozen=True):
    """Start the prepared container."""


class PostStart(msgspec.Struct, frozen=True):
    """Run the hooks after the start in the container."""


class Stop(msgspec.Struct, frozen=True):
    """Stop the container with its grace period. ``reason`` becomes the error of a task that is stopped because it failed."""

    reason: str = ""


class Release(msgspec.Struct, frozen=True):
    """Free the namespace and the secrets of a task that has ended. The container stays for its logs."""


class Remove(msgspec.Struct, frozen=True):
    """Remove the container with its namespace and files, and the record once the task is withdrawn."""


class SetStatus(msgspec.Struct, frozen=True):
    """Save and report this status."""

    status: TaskStatus


class Wait(msgspec.Struct, frozen=True):
    """Nothing to do until something changes."""


TaskStep = Prepare | Start | PostStart | Stop | Release | Remove | SetStatus | Wait


def next_step(record: TaskRecord, observed: Observation, now_ns: int) -> TaskStep:
    """The next step of a task. Carrying out step after step leads to ``Wait`` or ``Remove``."""
    if record.status.state.terminal:
        return _plan_ended(record, observed)
    if record.should_end:
        return _plan_ending(record, observed, now_ns)
    return _STEP_FUNCTIONS[record.status.state](record, observed, now_ns)


def serves_others(record: TaskRecord) -> bool:
    """Whether other nodes may have connections on their way to a task that is told to end."""
    task = record.task
    is_published = task.endpoint is not None and bool(task.endpoint.ports)
    return record.status.state is S.RUNNING and record.assigned and (bool(task.networks) or is_published)


def initial_status(task: Task, now_ns: int) -> TaskStatus:
    """The first status of a task on this node: ASSIGNED, or the assigned status if that is further."""
    if task.status.state >= S.ASSIGNED:
        return task.status
    return TaskStatus(timestamp_ns=now_ns, state=S.ASSIGNED, message="assigned")


def with_status(record: TaskRecord, status: TaskStatus) -> TaskRecord:
    """The record with a new status. Raises IllegalTransitionError for a transition that ``TRANSITIONS`` does not list."""
    before, after = record.status.state, status.state
    if after not in TRANSITIONS.get(before, frozenset()):
        raise IllegalTransitionError(record.task.id, before, after, record.history)
    history = (*record.history, after)[-HISTORY_LIMIT:]
    return msgspec.structs.replace(record, status=status, history=history)


def next_status(
    record: TaskRecord, state: TaskState, now_ns: int, *, observed: Observation | None = None, error: str = ""
) -> TaskStatus:
    """A status for ``state``, with what is known about the container."""
    container = None
    if record.container_id:
        pid, exit_code = (observed.pid, observed.exit_code) if observed else (0, 0)
        container = ContainerStatus(container_id=record.container_id, pid=pid, exit_code=exit_code)
    message = _MESSAGES.get(state, record.status.message)
    ports = observed.ports if observed and not state.terminal else ()
    return TaskStatus(timestamp_ns=now_ns, state=state, message=message, error=error, container=container, ports=ports)


def _plan_ended(record: TaskRecord, observed: Observation) -> TaskStep:
    """Removes a withdrawn task with its record. A task with desired state REMOVE is removed too, but its record stays until withdrawal.

    A container that a user started again after the task's end is the user's own, until the task is removed.
    """
    if not record.assigned:
        return Remove()
    if observed.phase is ContainerPhase.RUNNING and not record.released:
        return Stop()
    if record.task.desired_state == S.REMOVE and observed.phase is not ContainerPhase.ABSENT:
        return Remove()
    return Wait() if record.released else Release()


def _plan_ending(record: TaskRecord, observed: Observation, now_ns: int) -> TaskStep:
    if observed.phase is ContainerPhase.RUNNING:
        return Stop()
    reason = record.task.end_reason if record.assigned else ""
    has_run = observed.phase is ContainerPhase.EXITED and record.status.state >= S.STARTING
    state, exited = S.REJECTED if reason else S.SHUTDOWN, observed if has_run else None
    return SetStatus(next_status(record, state, now_ns, observed=exited, error=reason))


def _plan_to(state: TaskState) -> Callable[[TaskRecord, Observation, int], TaskStep]:
    def decide(record: TaskRecord, _observed: Observation, now_ns: int) -> TaskStep:
        return SetStatus(next_status(record, state, now_ns))

    return decide


def _plan_preparing(_record: TaskRecord, observed: Observation, _now_ns: int) -> TaskStep:
    return Wait() if observed.waits_for else Prepare()


def _plan_ready(record: TaskRecord, observed: Observation, now_ns: int) -> TaskStep:
    if observed.phase is ContainerPhase.ABSENT:
        return SetStatus(next_status(record, S.FAILED, now_ns, error="the container was removed before it started"))
    if record.task.desired_state < S.RUNNING:
        return Wait()
    return SetStatus(next_status(record, S.STARTING, now_ns, observed=observed))


def _plan_starting(record: TaskRecord, observed: Observation, now_ns: int) -> TaskStep:
    if observed.phase is ContainerPhase.CREATED:
        return Start()
    if observed.phase is ContainerPhase.RUNNING and record.task.spec.container.post_start and not record.hooks_done:
        return PostStart()
    if observed.phase is ContainerPhase.RUNNING and observed.health is HealthStatus.STARTING:
        return Wait()
    if observed.phase is ContainerPhase.RUNNING and observed.health is not HealthStatus.UNHEALTHY:
        return SetStatus(next_status(record, S.RUNNING, now_ns, observed=observed))
    return _plan_running(record, observed, now_ns)


def _plan_running(record: TaskRecord, observed: Observation, now_ns: int) -> TaskStep:
    if observed.phase is ContainerPhase.RUNNING:
        return Stop(_health_failure(observed)) if observed.health is HealthStatus.UNHEALTHY else Wait()
    if observed.phase is not ContainerPhase.EXITED:
        return SetStatus(
            next_status(record, S.FAILED, now_ns, error="the container is gone: it was removed outside of Covey")
        )
    if observed.health is HealthStatus.UNHEALTHY:
        error = f"task: {_health_failure(observed)}"
        return SetStatus(next_status(record, S.FAILED, now_ns, observed=observed, error=error))
    if observed.exit_code == 0 and not observed.error:
        return SetStatus(next_status(record, S.COMPLETE, now_ns, observed=observed))
    return SetStatus(next_status(record, S.FAILED, now_ns, observed=observed, error=_exit_error(observed)))


def _health_failure(observed: Observation) -> str:
    """Docker's words, and the output of the check in one line."""
    said = " ".join(observed.health_output.split())[:HEALTH_OUTPUT_LIMIT]
    return f"unhealthy container: {said}" if said else "unhealthy container"


def _exit_error(observed: Observation) -> str:
    if observed.error:
        return f"task: non-zero exit ({observed.exit_code}): {observed.error}"
    if observed.oom_killed:
        return f"task: non-zero exit ({observed.exit_code}): out of memory"
    return f"task: non-zero exit ({observed.exit_code})"


StepFunction = Callable[[TaskRecord, Observation, int], TaskStep]

_STEP_FUNCTIONS: dict[TaskState, StepFunction] = {
    S.ASSIGNED: _plan_to(S.ACCEPTED),
    S.ACCEPTED: _plan_to(S.PREPARING),
    S.PREPARING: _plan_preparing,
    S.READY: _plan_ready,
    S.STARTING: _plan_starting,
    S.RUNNING: _plan_running,
}
