"""Table rows of a service's history. Pure."""

from collections.abc import Mapping
from typing import Any

from cli.format.table import Row

HEADERS = {
    "Time": "TIME",
    "By": "BY",
    "Object": "OBJECT",
    "Action": "ACTION",
    "Text": "WHAT HAPPENED",
    "ID": "ID",
    "Node": "NODE",
}
TABLE = "{{.Time}}\t{{.By}}\t{{.Object}}\t{{.Text}}"
_ID_CHARACTERS = 12
_TEXT_CHARACTERS = 120


def row(entry: Mapping[str, Any], *, trunc: bool) -> Row:
    """A row of an entry as the daemon sends it. A task is shown by its service and slot."""
    name, text = str(entry["Name"]), str(entry["Text"])
    if entry["Type"] == "task":
        name = name.removesuffix(f".{entry['ID']}")
    return {
        "Time": f"{str(entry['Time'])[:23].rstrip('Z')}Z",
        "By": entry["By"] or "-",
        "Object": f"{entry['Type']} {name}",
        "Action": entry["Action"],
        "Text": f"{text[: _TEXT_CHARACTERS - 1]}…" if trunc and len(text) > _TEXT_CHARACTERS else text,
        "ID": entry["ID"][:_ID_CHARACTERS] if trunc else entry["ID"],
        "Node": entry["Node"],
    }
