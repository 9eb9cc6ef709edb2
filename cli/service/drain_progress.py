"""Progress of the drain of a node, judged from its tasks and those that replace them. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

Item = Mapping[str, Any]
_ENDED = ("failed", "rejected", "orphaned", "complete", "shutdown", "remove")
_MOST_SHOWN = 5


def remaining_tasks(tasks: Iterable[Item]) -> list[Item]:
    """Those of a node's tasks that have not ended yet."""
    return [task for task in tasks if task["Status"]["State"] not in _ENDED]


def describe(remaining: list[Item], of_services: Iterable[Item], names: Mapping[str, str]) -> str:
    """What a node still runs, and why each task is still there.

    Args:
        remaining: the node's tasks.
        of_services: all tasks of their services.
        names: of services, by id.
    """
    others = list(of_services)
    parts = [f"{_name(task, names)} {_reason(task, others)}" for task in remaining[:_MOST_SHOWN]]
    more = len(remaining) - len(parts)
    noun = "task" if len(remaining) == 1 else "tasks"
    return f"{len(remaining)} {noun} left: {'; '.join(parts)}{f'; and {more} more' if more else ''}"


def _name(task: Item, names: Mapping[str, str]) -> str:
    service = names.get(task.get("ServiceID", ""), task.get("ServiceID", ""))
    return f"{service}.{task['Slot']}" if task.get("Slot") else f"{service}"


def _reason(task: Item, others: Iterable[Item]) -> str:
    if task["DesiredState"] not in ("running", "ready", "complete"):
        return "is stopping"
    same = [item for item in others if _slot(item) == _slot(task) and item.get("NodeID") != task["NodeID"]]
    newest = max(same, key=lambda item: str(item["CreatedAt"]), default=None)
    if newest is None or str(newest["CreatedAt"]) < str(task["CreatedAt"]):
        return "waits for a replacement"
    status = newest["Status"]
    if status.get("Err"):
        return f"stays, its replacement is {status['State']}: {status['Err']}"
    return f"stays until its replacement runs, which is {status['State']}"


def _slot(task: Item) -> tuple[Any, Any]:
    return task.get("ServiceID"), task.get("Slot")
