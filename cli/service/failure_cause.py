"""The cause of a failed wait: the newest failed task of a service, its error, and the last lines of its log."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cli.client import DaemonClient
from cli.terminal.multiplexed import read_frames
from covey.errors import CoveyError

Item = Mapping[str, Any]
LINES = 10
SECONDS = 5.0
MAX_BYTES = 64 << 10
_FAILED = ("failed", "rejected", "orphaned")


def failed_task(tasks: Sequence[Item], *, of_update: bool = False) -> Item | None:
    """The task that failed last, unless another runs in its slot now; after a failed update that may be one of the spec before."""
    running = {_slot(task) for task in tasks if task["Status"]["State"] == "running" and not of_update}
    failed = [task for task in tasks if task["Status"]["State"] in _FAILED and _slot(task) not in running]
    return max(failed, key=lambda task: str(task["Status"].get("Timestamp", "")), default=None)


def failure_cause(daemon: DaemonClient, service: Item, *, known: str = "", of_update: bool = False) -> Iterator[str]:
    """Lines for people about the task of a service that failed last; none if none did. A log that cannot be read is left out, and so is
    an error that is ``known``.
    """
    try:
        listed = daemon.get("/tasks", {"filters": {"service": [service["ID"]]}})
    except CoveyError:
        return
    task = failed_task(listed, of_update=of_update)
    if task is None:
        return
    name = f"task {service['Spec']['Name']}.{_slot(task)} ({task['ID'][:12]})"
    error = str(task["Status"].get("Err") or task["Status"].get("Message"))
    if error not in known:
        yield f"{name} {task['Status']['State']}: {error}"
    lines = _log(daemon, task)
    if lines:
        yield f"last lines of {name}:"
    for line in lines:
        yield f"  {line}"


def _log(daemon: DaemonClient, task: Item) -> list[str]:
    if not (task["Status"].get("ContainerStatus") or {}).get("ContainerID"):
        return []  # it never ran
    query = {"stdout": True, "stderr": True, "tail": LINES}
    is_terminal = bool(task["Spec"].get("ContainerSpec", {}).get("TTY"))
    data = b""
    try:
        with daemon.open("GET", f"/tasks/{task['ID']}/logs", query, seconds=SECONDS) as response:
            chunks = daemon.body(response)
            for part in chunks if is_terminal else (content for _, content in read_frames(chunks)):
                data += part
                if len(data) > MAX_BYTES:
                    break
    except CoveyError:
        return []
    return data.decode(errors="replace").splitlines()[-LINES:]


def _slot(task: Item) -> Any:
    return task.get("Slot") or task.get("NodeID")
