"""The task of a service that a command is meant for: the one of a slot, or the first that runs."""

from typing import Any

from cli.client import DaemonClient, DaemonError, path_segment
from covey.errors import NotFoundError


def running_task(daemon: DaemonClient, ref: str) -> str:
    """The id of the running task of SERVICE or SERVICE.SLOT; of a global service a node's id stands for the slot.

    Raises:
        DaemonError: there is no such service; NotFoundError: it has no running task there.
    """
    name, slot = _service_and_slot(daemon, ref)
    tasks = daemon.get("/tasks", {"filters": {"service": [name], "desired-state": ["running"]}})
    running = [task for task in tasks if task["Status"]["State"] == "running" and slot in {"", *_slots(task)}]
    if not running:
        raise NotFoundError(
            f"service {name} has no running task{f' in slot {slot}' if slot else ''}; see: covey service ps {name}"
        )
    return str(min(running, key=lambda task: (task.get("Slot") or 0, task["CreatedAt"]))["ID"])


def _service_and_slot(daemon: DaemonClient, ref: str) -> tuple[str, str]:
    """The service's name may hold no dots, so what follows one is a slot."""
    try:
        daemon.get(f"/services/{path_segment(ref)}")
    except DaemonError as error:
        name, dot, slot = ref.rpartition(".")
        if error.status != 404 or not dot:
            raise
        daemon.get(f"/services/{path_segment(name)}")
        return name, slot
    return ref, ""


def _slots(task: dict[str, Any]) -> tuple[str, str]:
    return str(task.get("Slot") or ""), str(task.get("NodeID") or "")
