"""Counts of rejected tasks: when a service that cannot start is not waited for any longer. Pure but for what it has seen."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

Item = Mapping[str, Any]
REJECTIONS_TO_STOP = 3
"""After so many equal rejections of one slot's tasks nobody waits any longer."""
_LASTING = ("No such image", "invalid mount config")
"""Reasons of a node that do not go away by themselves: one rejection on each node is enough."""


class RejectionCounter:
    """Counts the rejected tasks of a service that were seen, each once, also those that the history has dropped since."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._counts: dict[tuple[Any, str], int] = {}
        self._nodes: dict[str, set[str]] = {}

    @property
    def any(self) -> bool:
        """Whether a rejection was seen."""
        return bool(self._counts)

    def reason(self, tasks: Sequence[Item], *, restarts: bool, nodes: Collection[str] = ()) -> str:
        """Why the service cannot start; empty while it may. Either the tasks of a slot that does not run were rejected the same way several
        times, or every node said the same of something that it lacks.

        ``restarts`` is False if a rejected task is not replaced, so that one rejection is final. ``nodes`` are the ids of those that take
        tasks.
        """
        for task in tasks:
            if task["Status"]["State"] == "rejected" and task["ID"] not in self._seen:
                self._count(task)
        running = {_slot(task) for task in tasks if task["Status"]["State"] == "running"}
        needed = REJECTIONS_TO_STOP if restarts else 1
        for (slot, text), count in self._counts.items():
            if slot in running:
                continue
            if count >= needed:
                return text
            if text.startswith(_LASTING) and nodes and self._nodes[text].issuperset(nodes):
                return f"{text} (on every node)" if len(nodes) > 1 else text
        return ""

    def _count(self, task: Item) -> None:
        self._seen.add(task["ID"])
        text = str(task["Status"].get("Err") or task["Status"].get("Message") or "rejected")
        key = (_slot(task), text)
        self._counts[key] = self._counts.get(key, 0) + 1
        self._nodes.setdefault(text, set()).add(str(task.get("NodeID", "")))


def _slot(task: Item) -> Any:
    return task.get("Slot") or task.get("NodeID")
