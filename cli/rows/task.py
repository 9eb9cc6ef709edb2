"""Table rows of tasks: the newest first in each slot, older ones marked below it."""

from collections.abc import Mapping, Sequence
from typing import Any

from cli.format.sorting import natural_sort_key
from cli.format.table import Row, capitalize, truncate
from cli.format.units import ago, parse_time, short_id

HEADERS = {
    "ID": "ID",
    "Name": "NAME",
    "Image": "IMAGE",
    "Node": "NODE",
    "DesiredState": "DESIRED STATE",
    "CurrentState": "CURRENT STATE",
    "Error": "ERROR",
    "Ports": "PORTS",
}
TABLE = "{{.ID}}\t{{.Name}}\t{{.Image}}\t{{.Node}}\t{{.DesiredState}}\t{{.CurrentState}}\t{{.Error}}\t{{.Ports}}"
ERROR_LENGTH = 30
_WAITING = ("new", "pending")
"""States in which the error says what the task waits for, which is shown whole."""
Task = Mapping[str, Any]


def ordered(tasks: Sequence[Task], services: Mapping[str, str]) -> list[Task]:
    """Tasks in natural order of names, newest first within a slot."""
    newest_first = sorted(tasks, key=lambda task: str(task["CreatedAt"]), reverse=True)
    return sorted(
        newest_first, key=lambda task: natural_sort_key(name(task, services.get(task["ServiceID"], task["ServiceID"])))
    )


def name(task: Task, service: str) -> str:
    return f"{service}.{task.get('Slot') or task.get('NodeID', '')}"


def rows(
    tasks: Sequence[Task],
    services: Mapping[str, str],
    nodes: Mapping[str, str],
    now_ns: int,
    *,
    trunc: bool,
    indent: bool,
) -> list[Row]:
    """One row for each task. ``services`` and ``nodes`` map ids to names; an unknown id is shown itself."""
    result: list[Row] = []
    previous = ""
    for task in ordered(tasks, services):
        service = services.get(task["ServiceID"], task["ServiceID"])
        full = name(task, service)
        status = task["Status"]
        error = status.get("Err", "")
        if trunc and error and status.get("State") not in _WAITING:
            error = truncate(error, ERROR_LENGTH)
        since = ago(parse_time(status.get("Timestamp", "")), now_ns)
        node = task.get("NodeID", "")
        result.append(
            {
                "ID": short_id(task["ID"]) if trunc else task["ID"],
                "Name": f" \\_ {full}" if indent and full == previous else full,
                "Image": image(task, trunc=trunc),
                "Node": nodes.get(node, node),
                "DesiredState": capitalize(task.get("DesiredState", "")),
                "CurrentState": f"{capitalize(status.get('State', ''))} {since.lower()}".rstrip(),
                "Error": f'"{error}"' if error else "",
                "Ports": _ports(status),
            }
        )
        previous = full
    return result


def image(task: Task, *, trunc: bool) -> str:
    text: str = ((task.get("Spec") or {}).get("ContainerSpec") or {}).get("Image", "")
    return text.split("@", 1)[0] if trunc and ":" in text.split("@", 1)[0] else text


def _ports(status: Mapping[str, Any]) -> str:
    ports = (status.get("PortStatus") or {}).get("Ports") or []
    return ",".join(f"*:{port['PublishedPort']}->{port['TargetPort']}/{port['Protocol']}" for port in ports)
