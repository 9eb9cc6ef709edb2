"""Progress of a job's present run, judged from the service and its tasks. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

Item = Mapping[str, Any]
_ENDED = ("complete", "failed", "rejected", "shutdown", "remove", "orphaned")


class JobProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a run.

    Attributes:
        total: slots that have to complete.
        failed: the last tasks of slots that failed for good.
        active: the tasks that are to run and have not ended.
    """

    total: int
    completed: int
    failed: tuple[Item, ...]
    active: tuple[Item, ...]

    @property
    def over(self) -> bool:
        """Whether each slot has completed or failed for good."""
        return self.completed + len(self.failed) >= self.total


def is_job(service: Item) -> bool:
    mode = service["Spec"].get("Mode") or {}
    return "ReplicatedJob" in mode or "GlobalJob" in mode


def job_progress(service: Item, tasks: Sequence[Item]) -> JobProgress:
    """The progress of the present run. The tasks of a global job are created together, one for each of its nodes."""
    counts = service["Spec"]["Mode"].get("ReplicatedJob")
    iteration = _iteration(service.get("JobStatus"))
    slots: dict[Any, list[Item]] = {}
    for task in sorted(tasks, key=lambda item: str(item["CreatedAt"])):
        if "JobIteration" in task and _iteration(task) == iteration:
            slots.setdefault(task.get("NodeID") if counts is None else task.get("Slot", 0), []).append(task)
    open_slots = [items for items in slots.values() if not any(_state(task) == "complete" for task in items)]
    return JobProgress(
        total=max(1, len(slots)) if counts is None else int(counts.get("TotalCompletions", 1)),
        completed=len(slots) - len(open_slots),
        failed=tuple([items[-1] for items in open_slots if _is_final(items[-1])]),
        active=tuple([task for items in slots.values() for task in items if _is_active(task)]),
    )


def _is_final(task: Item) -> bool:
    """Whether a failed task gets no successor: that would have been created when the task was told to end."""
    return _state(task) in ("failed", "rejected") and task["DesiredState"] == "shutdown"


def _is_active(task: Item) -> bool:
    return task["DesiredState"] in ("ready", "running", "complete", "pending") and _state(task) not in _ENDED


def _state(task: Item) -> str:
    return str(task["Status"]["State"])


def _iteration(item: Item | None) -> int:
    return int(((item or {}).get("JobIteration") or {}).get("Index", 0))
