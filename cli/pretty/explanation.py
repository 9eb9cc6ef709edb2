"""The text of ``service explain`` and of dry runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cli.format import table

Json = Mapping[str, Any]
_CAUSES = {
    "placement": "for a node",
    "nodes": "for a node that takes part",
    "dependency": "for a dependency",
    "network": "for the network",
    "predecessor": "for their predecessors",
    "restart": "for their restart",
    "start": "for their start",
    "ended": "no longer for anything",
}
_HEADERS = {"Count": "NODES", "Filter": "FILTER", "Detail": "REFUSED BECAUSE", "Nodes": "WHICH"}
_TABLE = "{{.Count}}\t{{.Filter}}\t{{.Detail}}\t{{.Nodes}}"


def explanation(found: Json) -> Iterator[str]:
    """The lines about a service."""
    yield f"{found['Name']}: {found['Running']} of {found['Desired']} {_tasks(found['Desired'])} running"
    for note in found["Notes"]:
        yield f"  {note}"
    yield from waiting(found)
    if not found["Waiting"] and not found["Notes"]:
        yield "  nothing is waiting"


def waiting(found: Json) -> Iterator[str]:
    """The lines about its waiting tasks."""
    for item in found["Waiting"]:
        yield ""
        yield _heading(item)
        yield from _body(item)


def dry_run(found: Json) -> Iterator[str]:
    """The lines about the placement that would result."""
    for node in found["Nodes"]:
        parts = [
            f"{node[key]} {word}" for key, word in (("Added", "new"), ("Kept", "kept"), ("Old", "old")) if node[key]
        ]
        total = node["Added"] + node["Kept"] + node["Old"]
        yield f"  {node['Hostname']}: {total} {_tasks(total)} ({', '.join(parts)})"
    if not found["Nodes"]:
        yield "  no task has a node"
    for note in found["Explanation"]["Notes"]:
        yield f"  {note}"
    yield from waiting(found["Explanation"])


def _heading(item: Json) -> str:
    count = item["Count"]
    if not count:
        return "No node takes part in the global service"
    names = ", ".join(item["Tasks"]) + (", …" if count > len(item["Tasks"]) else "")
    verb = (
        ("wait" if count > 1 else "waits")
        if item["Cause"] != "ended"
        else ("are" if count > 1 else "is") + " not restarted"
    )
    purpose = f" {_CAUSES.get(item['Cause'], '')}" if item["Cause"] != "ended" else ""
    return f"{count} {_tasks(count)} {verb}{purpose}: {names}"


def _body(item: Json) -> Iterator[str]:
    if not item["Refusals"]:
        yield f"  {item['Reason']}"
        return
    rows = [{**row, "Detail": row["Detail"] or row["Sentence"], "Nodes": _names(row)} for row in item["Refusals"]]
    yield from (f"  {line}".rstrip() for line in table.render(rows, _HEADERS, _TABLE, "").splitlines())
    if item["Suggestions"]:
        yield "  Any of these changes places tasks:"
    for suggestion in item["Suggestions"]:
        total = max(item["Count"], 1)
        places = f" (places {suggestion['Places']} of {total})" if total > 1 else ""
        yield f"  - {suggestion['Text']}{places}"
        if suggestion["Command"]:
            yield f"      {suggestion['Command']}"
    if item["Near"]:
        yield "  No single change helps. The nearest nodes lack:"
        yield from (f"  - {text}" for text in item["Near"])


def _names(row: Json) -> str:
    return ", ".join(row["Nodes"]) + (", …" if row["Count"] > len(row["Nodes"]) else "")


def _tasks(count: int) -> str:
    return "task" if count == 1 else "tasks"
