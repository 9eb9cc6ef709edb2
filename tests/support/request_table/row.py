"""A row of the request table: one request, what to keep of its answer, and how strictly both engines' answers must agree."""

from collections.abc import Mapping
from typing import Any

import msgspec

EXACT = ""
ANY = ".*"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    ``{name}`` in the path, the query and the body stands for a value that an earlier row saved. Values of ``query`` that are not strings
    are sent as JSON. ``save`` maps a name to the dotted path of a value in the answer. ``until`` is a dotted path and the value to wait for
    (a placeholder stands for a saved one); the request is repeated until it is there. ``message`` is a regular expression for both engines'
    messages, EXACT (they must be equal) or ANY.
    """

    method: str
    path: str
    query: Mapping[str, Any] = {}
    body: Any = None
    raw: bytes | None = None
    content_type: str | None = "application/json"
    headers: Mapping[str, str] = {}
    save: Mapping[str, str] = {}
    until: tuple[str, Any] | None = None
    message: str = EXACT
    shape: bool = True
    note: str = ""

    @property
    def title(self) -> str:
        """The request in a few words, for the test's name and the documentation."""
        words = f"{self.method} {self.path}"
        return f"{words} ({self.note})" if self.note else words


def get(path: str, note: str = "", **options: Any) -> Row:
    return Row(method="GET", path=path, note=note, **options)


def head(path: str, note: str = "", **options: Any) -> Row:
    return Row(method="HEAD", path=path, note=note, **options)


def post(path: str, body: Any = None, note: str = "", **options: Any) -> Row:
    return Row(method="POST", path=path, body=body, note=note, **options)


def put(path: str, body: Any = None, note: str = "", **options: Any) -> Row:
    return Row(method="PUT", path=path, body=body, note=note, **options)


def delete(path: str, note: str = "", **options: Any) -> Row:
    return Row(method="DELETE", path=path, note=note, **options)


def filters(**values: Any) -> dict[str, Any]:
    """A query with filters; ``_`` in a name stands for ``-``."""
    return {"filters": {name.replace("_", "-"): list(found) for name, found in values.items()}}
