"""Convergence of a service, judged from the service and its tasks. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cli.service.job_progress import is_job, job_progress
from covey.service_options.rollout import STOPPED_LABEL

Item = Mapping[str, Any]
_FAILED = ("failed", "rejected", "orphaned")
_ENDED = (*_FAILED, "complete", "shutdown", "remove")


class ServiceProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a service.

    Attributes:
        completed: slots whose work is done and that are not started again.
        states: counts tasks that should run by their state.
        error: the newest task error.
        failure: why a slot that is not started again failed; empty if none did, or while other slots of a job may still complete.
        job: whether the tasks are wanted complete rather than running.
        old_running: slots that a task of the spec before still serves, during an update.
    """

    running: int
    desired: int
    completed: int = 0
    failure: str = ""
    states: tuple[tuple[str, int], ...] = ()
    update: str = ""
    message: str = ""
    error: str = ""
    paused: bool = False
    converged: bool = False
    job: bool = False
    old_running: int = 0

    @property
    def done(self) -> int:
        """How many of the desired tasks are as they should be."""
        return self.completed if self.job else self.running

    @property
    def summary(self) -> str:
        """A one-line summary for the user."""
        if self.job and self.message:
            return self.message
        if self.job:
            states = ", ".join(f"{count} {state}" for state, count in self.states)
            parts = [f"{self.completed} of {self.desired} tasks complete", *([states] if states else [])]
        else:
            states = ", ".join(f"{count} {state}" for state, count in self.states if state != "running")
            done = [f"{self.completed} complete"] if self.completed else []
            updated = [f"{self.running} of them updated"] if self.old_running else []
            serving = self.running + self.old_running
            parts = [f"{serving} of {self.desired} tasks running", *updated, *done, *([states] if states else [])]
        if self.update and not self.converged:
            parts.append(self.message if self.message.startswith("canary: ") else self.update.replace("_", " "))
        if self.error and not self.converged:
            parts.append(self.error)
        return "; ".join(parts)


def _slot(task: Item) -> Any:
    return task.get("Slot") or task.get("NodeID")


def service_progress(
    service: Item, tasks: Sequence[Item], eligible_nodes: int, old_tasks: Sequence[Item] = ()
) -> ServiceProgress:
    """The progress of a service towards its current spec.

    Args:
        service: the response of /services/ID.
        tasks: all tasks of the service's current spec, whatever their desired state.
        eligible_nodes: the number of nodes that can run a task of a global service.
        old_tasks: the tasks of earlier specs that are to run still, during an update.
    """
    if is_job(service):
        return _job_progress(service, tasks)
    if (service["Spec"].get("Labels") or {}).get(STOPPED_LABEL) == "true":
        return _stop_progress(tasks)
    status = service.get("UpdateStatus") or {}
    state = str(status.get("State", ""))
    current = _newest_per_slot(tasks)
    running = sum(1 for task in current if task["Status"]["State"] == "running" and task["DesiredState"] == "running")
    desired = _desired_tasks(service, current, eligible_nodes)
    completed, failure = _ended_slots(service, tasks)
    stopped = state in ("paused", "rollback_paused")
    return ServiceProgress(
        running=running,
        desired=desired,
        completed=completed,
        failure=failure,
        states=_state_counts(current),
        update=state if state != "completed" else "",
        message=str(status.get("Message", "")),
        error=_newest_error(tasks),
        old_running=_old_running(current, old_tasks),
        paused=stopped,
        converged=not stopped
        and state not in ("updating", "rollback_started")
        and running <= desired <= running + completed
        and _no_surplus(current, desired),
    )


def _stop_progress(tasks: Sequence[Item]) -> ServiceProgress:
    """The progress of a stopped service: it has converged when all its tasks have ended."""
    left = [task for task in tasks if task["Status"]["State"] not in _ENDED]
    return ServiceProgress(running=len(left), desired=0, states=_state_counts(left), converged=not left)


def _job_progress(service: Item, tasks: Sequence[Item]) -> ServiceProgress:
    """The progress of a job's present run: it has converged when each slot has completed, and failed when each has ended. A run that its
    schedule began or is to begin is not waited for.
    """
    schedule = service.get("Schedule") or {}
    if schedule and (not schedule.get("LastRun") or schedule.get("LastScheduled")):
        message = f"scheduled, next run at {schedule.get('NextRun', 'no time')}"
        return ServiceProgress(running=0, desired=0, message=message, converged=True, job=True)
    progress = job_progress(service, tasks)
    last = progress.failed[-1]["Status"] if progress.failed and progress.over else {}
    reason = str(last.get("Err") or last.get("Message") or "failed") if last else ""
    return ServiceProgress(
        running=sum(1 for task in progress.active if task["Status"]["State"] == "running"),
        desired=progress.total,
        completed=progress.completed,
        failure=f"{len(progress.failed)} of {progress.total} tasks: {reason}" if reason else "",
        states=_state_counts([*progress.active, *progress.failed]),
        error=_newest_error([*progress.active, *progress.failed]),
        converged=progress.completed >= progress.total,
        job=True,
    )


def _ended_slots(service: Item, tasks: Sequence[Item]) -> tuple[int, str]:
    """How many slots have completed for good, and why one failed for good: by the restart policy neither gets another task."""
    policy = (service["Spec"].get("TaskTemplate") or {}).get("RestartPolicy") or {}
    condition, attempts = policy.get("Condition") or "any", int(policy.get("MaxAttempts") or 0)
    if condition == "any":
        return 0, ""
    slots: dict[Any, list[Item]] = {}
    for task in sorted(tasks, key=lambda item: str(item["CreatedAt"])):
        slots.setdefault(_slot(task), []).append(task)
    ended = [items for items in slots.values() if items[-1]["Status"]["State"] in _ENDED]
    completed = sum(1 for items in ended if items[-1]["Status"]["State"] == "complete")
    final = [
        items[-1]
        for items in ended
        if items[-1]["Status"]["State"] == "failed" and (condition == "none" or 0 < attempts < len(items))
    ]
    failure = str(final[0]["Status"].get("Err") or final[0]["Status"].get("Message") or "failed") if final else ""
    return completed, failure


def _no_surplus(current: Sequence[Item], desired: int) -> bool:
    return sum(1 for task in current if task["DesiredState"] in ("running", "ready")) <= desired


def _desired_tasks(service: Item, current: Sequence[Item], eligible_nodes: int) -> int:
    mode = service["Spec"].get("Mode") or {}
    if "Global" in mode:
        return max(eligible_nodes, sum(1 for task in current if task["DesiredState"] == "running"))
    return int((mode.get("Replicated") or {}).get("Replicas", 1))


def _newest_per_slot(tasks: Sequence[Item]) -> list[Item]:
    """The newest task of each slot, or of each node for global services."""
    result: dict[Any, Item] = {}
    for task in sorted(tasks, key=lambda item: str(item["CreatedAt"])):
        key = _slot(task)
        previous = result.get(key)
        if (
            previous is None
            or task["DesiredState"] in ("running", "ready")
            or previous["DesiredState"] not in ("running", "ready")
        ):
            result[key] = task
    return [task for task in result.values() if task["DesiredState"] in ("running", "ready")]


def _state_counts(tasks: Sequence[Item]) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for task in tasks:
        state = str(task["Status"]["State"])
        counts[state] = counts.get(state, 0) + 1
    return tuple(sorted(counts.items()))


def _old_running(current: Sequence[Item], old_tasks: Sequence[Item]) -> int:
    """How many slots only a task of an earlier spec serves."""
    new = {_slot(task) for task in current if task["Status"]["State"] == "running"}
    return len({_slot(task) for task in old_tasks if task["Status"]["State"] == "running"} - new)


def _newest_error(tasks: Sequence[Item]) -> str:
    """The newest error of failed tasks and of tasks that cannot start yet, unless a later task of the slot runs."""
    running = {_slot(task) for task in tasks if task["Status"]["State"] == "running"}
    failed = [
        task
        for task in tasks
        if task["Status"].get("Err")
        and _slot(task) not in running
        and (task["Status"]["State"] in _FAILED or task["Status"]["State"] not in _ENDED)
    ]
    newest = max(failed, key=lambda task: str(task["Status"].get("Timestamp", "")), default=None)
    return str(newest["Status"]["Err"]) if newest else ""
