"""The task machine: from a task's record and what is observed of its container to the next step. Pure.

States only go up: ASSIGNED ACCEPTED PREPARING READY STARTING RUNNING, then one of COMPLETE SHUTDOWN FAILED REJECTED. The table
below names every move; anything else raises ``IllegalMoveError`` with the recent history. The machine keeps no memory of its
own: after a restart of the daemon the same record and the same container give the same step, so it is simply asked again.

Called by ``agent.worker.controller``. Messages are those that Swarm's users know.
"""

from collections.abc import Callable
from enum import Enum

import msgspec

from covey.errors import CoveyError
from covey.objects import ContainerStatus, Task, TaskStatus
from covey.states import TaskState

S = TaskState

HISTORY_LIMIT = 20

MOVES: dict[TaskState, frozenset[TaskState]] = {
    S.ASSIGNED: frozenset({S.ACCEPTED, S.SHUTDOWN, S.REJECTED}),
    S.ACCEPTED: frozenset({S.PREPARING, S.SHUTDOWN, S.REJECTED}),
    S.PREPARING: frozenset({S.READY, S.SHUTDOWN, S.REJECTED}),
    S.READY: frozenset({S.STARTING, S.SHUTDOWN, S.FAILED, S.REJECTED}),
    S.STARTING: frozenset({S.RUNNING, S.COMPLETE, S.SHUTDOWN, S.FAILED}),
    S.RUNNING: frozenset({S.COMPLETE, S.SHUTDOWN, S.FAILED}),
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


class IllegalMoveError(CoveyError):
    """A move that the table does not hold; a bug in whoever asked for it."""

    def __init__(self, task_id: str, before: TaskState, after: TaskState, history: tuple[TaskState, ...]) -> None:
        path = " ".join(state.name for state in history) or "none"
        super().__init__(f"task {task_id} cannot go from {before.name} to {after.name}; its recent states: {path}")
        self.task_id = task_id
        self.before = before
        self.after = after
        self.history = history


class Life(Enum):
    """What is seen of the task's container."""

    ABSENT = "absent"
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


class Health(Enum):
    """What the container's own probe says; NONE where it has no probe."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Observation(msgspec.Struct, frozen=True):
    """The container as it is now. ``waits_for`` names what must still come from a manager before preparing (secrets after a restart)."""

    life: Life = Life.ABSENT
    exit_code: int = 0
    pid: int = 0
    oom_killed: bool = False
    error: str = ""
    health: Health = Health.NONE
    waits_for: str = ""


class Record(msgspec.Struct, frozen=True):
    """What the agent keeps of a task. ``assigned`` is false once no manager names the task any more; ``history`` is its own states."""

    task: Task
    status: TaskStatus
    container_id: str = ""
    assigned: bool = True
    released: bool = False
    history: tuple[TaskState, ...] = ()

    @property
    def unwanted(self) -> bool:
        """Whether the task is to end, if it has not."""
        return not self.assigned or self.task.desired_state > S.RUNNING


class Prepare(msgspec.Struct, frozen=True):
    """Make the namespace, the files and the container. A container that is there is made anew."""


class Start(msgspec.Struct, frozen=True):
    """Start the container that was prepared."""


class Stop(msgspec.Struct, frozen=True):
    """Stop the container with its grace; ``reason`` is kept as the error of a task that is stopped for a failure."""

    reason: str = ""


class Release(msgspec.Struct, frozen=True):
    """Give back what a task that has ended holds: its namespace and its secrets. The container stays, for its logs."""


class Remove(msgspec.Struct, frozen=True):
    """Remove the container and what it holds; and the record, once no manager names the task any more."""


class Move(msgspec.Struct, frozen=True):
    """Record and report this status."""

    status: TaskStatus


class Wait(msgspec.Struct, frozen=True):
    """Nothing to do until something changes, or until ``until_ns`` if that is not 0."""

    until_ns: int = 0


Step = Prepare | Start | Stop | Release | Remove | Move | Wait


def plan(record: Record, seen: Observation, now_ns: int) -> Step:
    """The next step. Carrying it out and asking again leads to ``Wait`` or ``Remove``."""
    if record.status.state.terminal:
        return _plan_ended(record, seen)
    if record.unwanted:
        return _plan_ending(record, seen, now_ns)
    return _PLANS[record.status.state](record, seen, now_ns)


def first_status(task: Task, now_ns: int) -> TaskStatus:
    """Where the agent takes a task over: at ASSIGNED, or further on if it is known to have been."""
    if task.status.state >= S.ASSIGNED:
        return task.status
    return TaskStatus(timestamp_ns=now_ns, state=S.ASSIGNED, message="assigned")


def advanced(record: Record, status: TaskStatus) -> Record:
    """The record with a new status. Raises IllegalMoveError for a move that the table does not hold."""
    before, after = record.status.state, status.state
    if after not in MOVES.get(before, frozenset()):
        raise IllegalMoveError(record.task.id, before, after, record.history)
    history = (*record.history, after)[-HISTORY_LIMIT:]
    return msgspec.structs.replace(record, status=status, history=history)


def moved(
    record: Record, state: TaskState, now_ns: int, *, seen: Observation | None = None, error: str = ""
) -> TaskStatus:
    """A status for ``state`` with what is known of the container."""
    container = None
    if record.container_id:
        pid, exit_code = (seen.pid, seen.exit_code) if seen else (0, 0)
        container = ContainerStatus(container_id=record.container_id, pid=pid, exit_code=exit_code)
    message = _MESSAGES.get(state, record.status.message)
    return TaskStatus(timestamp_ns=now_ns, state=state, message=message, error=error, container=container)


def _plan_ended(record: Record, seen: Observation) -> Step:
    """A withdrawn task goes with its record; one that is wanted gone goes too, but its record stays until it is withdrawn."""
    if not record.assigned:
        return Remove()
    if seen.life is Life.RUNNING:
        return Stop()
    if record.task.desired_state == S.REMOVE and seen.life is not Life.ABSENT:
        return Remove()
    return Wait() if record.released else Release()


def _plan_ending(record: Record, seen: Observation, now_ns: int) -> Step:
    if seen.life is Life.RUNNING:
        return Stop()
    if seen.life is Life.EXITED and record.status.state >= S.STARTING:
        return Move(moved(record, S.SHUTDOWN, now_ns, seen=seen))
    return Move(moved(record, S.SHUTDOWN, now_ns))


def _plan_to(state: TaskState) -> Callable[[Record, Observation, int], Step]:
    def decide(record: Record, _seen: Observation, now_ns: int) -> Step:
        return Move(moved(record, state, now_ns))

    return decide


def _plan_preparing(_record: Record, seen: Observation, _now_ns: int) -> Step:
    return Wait() if seen.waits_for else Prepare()


def _plan_ready(record: Record, seen: Observation, now_ns: int) -> Step:
    if seen.life is Life.ABSENT:
        return Move(moved(record, S.FAILED, now_ns, error="the container was removed before it started"))
    if record.task.desired_state < S.RUNNING:
        return Wait()
    return Move(moved(record, S.STARTING, now_ns, seen=seen))


def _plan_starting(record: Record, seen: Observation, now_ns: int) -> Step:
    if seen.life is Life.CREATED:
        return Start()
    if seen.life is Life.RUNNING and seen.health is Health.STARTING:
        return Wait()
    if seen.life is Life.RUNNING and seen.health is not Health.UNHEALTHY:
        return Move(moved(record, S.RUNNING, now_ns, seen=seen))
    return _plan_running(record, seen, now_ns)


def _plan_running(record: Record, seen: Observation, now_ns: int) -> Step:
    if seen.life is Life.RUNNING:
        return Stop("unhealthy container") if seen.health is Health.UNHEALTHY else Wait()
    if seen.life is not Life.EXITED:
        return Move(
            moved(record, S.FAILED, now_ns, error="the container is gone: it was removed behind the agent's back")
        )
    if seen.health is Health.UNHEALTHY:
        return Move(moved(record, S.FAILED, now_ns, seen=seen, error="task: unhealthy container"))
    if seen.exit_code == 0 and not seen.error:
        return Move(moved(record, S.COMPLETE, now_ns, seen=seen))
    return Move(moved(record, S.FAILED, now_ns, seen=seen, error=_why_it_ended(seen)))


def _why_it_ended(seen: Observation) -> str:
    if seen.error:
        return f"task: non-zero exit ({seen.exit_code}): {seen.error}"
    if seen.oom_killed:
        return f"task: non-zero exit ({seen.exit_code}): out of memory"
    return f"task: non-zero exit ({seen.exit_code})"


Planner = Callable[[Record, Observation, int], Step]

_PLANS: dict[TaskState, Planner] = {
    S.ASSIGNED: _plan_to(S.ACCEPTED),
    S.ACCEPTED: _plan_to(S.PREPARING),
    S.PREPARING: _plan_preparing,
    S.READY: _plan_ready,
    S.STARTING: _plan_starting,
    S.RUNNING: _plan_running,
}
