"""Table rows of stacks. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cli.format.sorting import natural_sort_key
from cli.format.table import Row
from cli.rows import watched_stack
from compose.stack.labels import STACK_NAMESPACE_LABEL

_HEADERS = {"Name": "NAME", "Services": "SERVICES"}
_WATCH_HEADERS = {**_HEADERS, "Watch": "WATCH"}

Service = Mapping[str, Any]


def columns(watched: Sequence[watched_stack.Watched]) -> tuple[dict[str, str], str]:
    """Headers and default table: docker's, with one more column if a stack is watched."""
    headers = _WATCH_HEADERS if watched else _HEADERS
    return headers, "\t".join(f"{{{{.{key}}}}}" for key in headers)


def rows(services: Iterable[Service], watched: Sequence[watched_stack.Watched] = ()) -> list[Row]:
    """One row for each stack that the services belong to by their stack label, and for each watched stack."""
    counts = Counter((service["Spec"].get("Labels") or {}).get(STACK_NAMESPACE_LABEL, "") for service in services)
    summaries = {watched_stack.name_of(item): watched_stack.summary(item) for item in watched}
    names = sorted({*counts, *summaries} - {""}, key=natural_sort_key)
    return [_row(name, counts[name], summaries) for name in names]


def _row(name: str, count: int, summaries: Mapping[str, str]) -> Row:
    row = {"Name": name, "Services": str(count)}
    return {**row, "Watch": summaries.get(name, "")} if summaries else row
