"""Wrong requests derived from right ones: each value of a body or query replaced by values of every JSON type, and odd names. Pure.

The requests of the request table are the seeds: they reach deep into the daemon, so that one wrong value in them is met by the code that
reads it, and not by the first check.
"""

import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tests.support.request_table.replay import fill
from tests.support.request_table.row import Row
from tests.support.request_table.table import BESIDE, TABLE

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 1e300, 1.5,
    "", " ", "x", "\x00", "a\nb", "../../etc", "{{.Wrong}}", "é\U0001f600", "\ud800", "y" * 5000,
    [], [None], ["x"], [[]], [{}], {}, {"": ""}, {"x": None}, {"x": {"y": []}},
)  # fmt: skip
"""One or more of each JSON type, at the edges of what Go and Python can hold."""

ODD_NAMES = (
    "a/b", "/", "a\nb", "a\x00b", "..", "../..", "%", "%00", "?", "#", " ", "é", "\U0001f600", "sha256:", "a@b", ":", "-", "a" * 5000,
)  # fmt: skip

REGISTRY_PATHS = ("/images/create", "/images/search", "/distribution/", "/auth", "/push")
"""Paths that talk to a registry, which only a registry of the test's own may answer."""


class FuzzRequest(msgspec.Struct, frozen=True):
    """A request to send. ``what`` says what is wrong with it."""

    method: str
    url: str
    body: Any
    what: str


def seeds(saved: dict[str, str]) -> list[Row]:
    """One row for each method, path and shape of a body: the requests with the most to change. ``saved`` are values of placeholders."""
    found: dict[tuple[str, str, str], Row] = {}
    for rows in (TABLE | BESIDE).values():
        for row in rows:
            if not any(word in row.path for word in REGISTRY_PATHS):
                keys = ",".join(sorted(row.body)) if isinstance(row.body, dict) else ""
                filled = msgspec.structs.replace(row, body=fill(row.body, saved), query=fill(row.query, saved))
                found.setdefault((row.method, row.path, keys), filled)
    return list(found.values())


def wrong_bodies(rows: list[Row]) -> Iterator[FuzzRequest]:
    """Each value at each place of each body, replaced by each odd value. A place that several bodies share is tried once."""
    tried: set[tuple[str, str, str]] = set()
    for row in rows:
        if row.body is None:
            continue
        for place in places(row.body):
            name = ".".join("[]" if isinstance(key, int) else key for key in place)
            if (row.method, row.path, name) in tried:
                continue
            tried.add((row.method, row.path, name))
            for value in ODD_VALUES:
                yield FuzzRequest(
                    row.method, url(row.path, row.query), replaced(row.body, place, value), f"{name} = {value!r:.40}"
                )


def wrong_queries(rows: list[Row]) -> Iterator[FuzzRequest]:
    """Each parameter of each query, replaced by each odd text."""
    tried: set[tuple[str, str, str]] = set()
    for row in rows:
        for name in row.query:
            if (row.method, row.path, name) in tried:
                continue
            tried.add((row.method, row.path, name))
            for value in ODD_VALUES:
                text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
                yield FuzzRequest(
                    row.method, url(row.path, {**row.query, name: text}), row.body, f"{name} = {text!r:.40}"
                )


def wrong_names(operations: tuple[tuple[str, str], ...]) -> Iterator[FuzzRequest]:
    """Each odd name in the path of each operation."""
    for method, path in operations:
        if "{" not in path or any(word in path for word in REGISTRY_PATHS):
            continue
        for name in ODD_NAMES:
            quoted = urllib.parse.quote(name, safe="")
            yield FuzzRequest(
                method, path.replace("{id}", quoted).replace("{name}", quoted), None, f"the name {name!r:.20}"
            )


def places(value: Any) -> Iterator[tuple[str | int, ...]]:
    """The place of each value in a JSON value, outer ones first; of a list only its first item."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list | tuple) and value:
        items = [(0, value[0])]
    for key, inner in items:
        yield (key,)
        for rest in places(inner):
            yield (key, *rest)


def replaced(value: Any, place: tuple[str | int, ...], new: Any) -> Any:
    """A copy with another value at the place."""
    if not place:
        return new
    key, *rest = place
    if isinstance(value, dict):
        return {name: replaced(item, tuple(rest), new) if name == key else item for name, item in value.items()}
    return [replaced(item, tuple(rest), new) if index == key else item for index, item in enumerate(value)]


def url(path: str, query: Mapping[str, Any]) -> str:
    """Path and query; placeholders for values that no request saved stay words."""
    texts = {
        name: text if isinstance(text, str) else msgspec.json.encode(text).decode() for name, text in query.items()
    }
    encoded = urllib.parse.urlencode(texts, errors="replace")
    plain = path.replace("{", "").replace("}", "")
    return plain + (f"?{encoded}" if encoded else "")
