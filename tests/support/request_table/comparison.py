"""Compares two engines' answers to one row: status, content type, message, and the shape of the JSON. Pure.

A shape is a set of lines such as ``.Spec.Labels object``. Items of a list share their lines, and keys that are data (ids, paths, addresses)
are written alike, so that two answers of equal meaning have equal shapes.
"""

import re
from collections.abc import Iterable
from typing import Any

from tests.support.request_table.deviations import (
    EMPTY_FIELDS,
    FILLED_FIELDS,
    GONE_FIELDS,
    HIDDEN_FIELDS,
    NEWER_FIELDS,
    OPEN_OBJECTS,
)
from tests.support.request_table.replay import Answer
from tests.support.request_table.row import EXACT, Row

_DATA = (
    (re.compile(r"(sha256:)?[0-9a-f]{64}"), "ID"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b[0-9a-z]{25}\b"), "ID"),
    (re.compile(r"/var/lib/covey-lab/[^\s\"':]*"), "PATH"),
)


def differences(row: Row, docker: Answer, covey: Answer) -> list[str]:
    """What differs between the answers, one line each; empty if they agree."""
    if docker.status != covey.status:
        return [f"status {docker.status}, not {covey.status}: {_brief(docker)} | {_brief(covey)}"]
    found = []
    if docker.content_type != covey.content_type:
        found.append(f"content type {docker.content_type!r}, not {covey.content_type!r}")
    if docker.message is not None or covey.message is not None:
        return found + _message_differences(row, docker, covey)
    if row.shape:
        found += _shape_differences(docker.body, covey.body)
    return found


_NEWER_WORDS = (
    (re.compile(r"^invalid JSON: "), ""),
    (re.compile(r"repository name \(\S+\) must be lowercase"), "repository name must be lowercase"),
    (re.compile(r"^no such image: \S+: (?=No such image|invalid reference)", re.IGNORECASE), ""),
    (re.compile(r"^unsupported Content-Type header \((.*)\): must be"), r"Content-Type specified (\1) must be"),
)
"""Words that Docker's engines changed after API 1.41, written alike. They also write many messages with other capitals, so these do not count."""

_GO_KINDS = {name: name for name in ("string", "bool", "[]string", "map[string]string")}
_GO_KINDS |= {"uint64": "int64", "uint32": "int64", "int64": "int64", "swarm.NodeRole": "string"}
_GO_TYPE = re.compile(r"Go (?:struct field (?:(\w+)\.)?([\w.\[\]]+)|value) of type (\S+)")


def same_words(docker: str, covey: str) -> bool:
    """Whether Covey's message is Docker's, or Docker's with a remedy behind it."""
    old = _in_newer_words(_GO_TYPE.sub(lambda found: _plain_go(found, has_struct=True), docker))
    new = _in_newer_words(_GO_TYPE.sub(lambda found: _plain_go(found, has_struct=False), covey))
    return old == new or new.startswith(f"{old}; ")


def _in_newer_words(text: str) -> str:
    for pattern, words in _NEWER_WORDS:
        text = pattern.sub(words, text)
    return text.casefold()


def _plain_go(found: re.Match[str], *, has_struct: bool) -> str:
    """Where a JSON value did not fit, without the names that Docker's source gives to its structs, and without positions in lists."""
    field = found[2] or ""
    if not has_struct and found[1]:
        field = f"{found[1]}.{field}"
    kind = _GO_KINDS.get(found[3], "object")
    return re.sub(r"\[\d+\]", "", f"{field} of type {kind}")


def normalize(text: str, saved: dict[str, str]) -> str:
    """A message without what differs from engine to engine: values that rows saved, ids and paths."""
    for name, value in sorted(saved.items(), key=lambda item: -len(item[1])):
        if len(value) > 8:  # noqa: PLR2004  shorter values are words of the request, which both engines repeat
            text = text.replace(value, f"{{{name}}}")
    for pattern, word in _DATA:
        text = pattern.sub(word, text)
    return text.strip()


def _message_differences(row: Row, docker: Answer, covey: Answer) -> list[str]:
    if docker.message is None or covey.message is None:
        return [f"the message {_brief(docker)}, not {_brief(covey)}"]
    texts = (normalize(docker.message, docker.saved), normalize(covey.message, covey.saved))
    if row.message == EXACT:
        return [] if same_words(*texts) else [f"the message {texts[0]!r}, not {texts[1]!r}"]
    return [
        f"the message {text!r} is not like {row.message!r}"
        for text in texts
        if not re.search(row.message, text, re.DOTALL)
    ]


def _shape_differences(docker: Any, covey: Any) -> list[str]:
    old, new = shape(docker), shape(covey)
    found = []
    for path in sorted(old.keys() | new.keys()):
        if _is_open(path):
            continue
        if path not in new and not _below_missing(path, new) and not _listed(path, GONE_FIELDS):
            found.append(f"{path or 'body'} {'/'.join(sorted(old[path]))}, which is missing")
        elif path not in old and not _below_missing(path, old) and not _listed(path, (*NEWER_FIELDS, *FILLED_FIELDS)):
            found.append(f"no {path or 'body'}, which is {'/'.join(sorted(new[path]))}")
        elif path in old and path in new and old[path] != new[path] and not _both_empty(path, old[path] ^ new[path]):
            found.append(f"{path or 'body'} {'/'.join(sorted(old[path]))}, not {'/'.join(sorted(new[path]))}")
    return found


def shape(body: Any) -> dict[str, set[str]]:
    """Every path of a JSON value with the types that are there."""
    found: dict[str, set[str]] = {}
    _collect(body, "", found)
    return found


def _collect(value: Any, path: str, found: dict[str, set[str]]) -> None:
    found.setdefault(path, set()).add(_kind(value))
    if isinstance(value, dict):
        for key, item in value.items():
            _collect(item, f"{path}.{normalize(key, {})}", found)
    elif isinstance(value, list):
        for item in value:
            _collect(item, f"{path}[]", found)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", list: "list" if value else "empty list", dict: "object"}[type(value)]


def _below_missing(path: str, other: dict[str, set[str]]) -> bool:
    """Whether the path's parent is missing in the other shape too (or has no items), so that its own line says it."""
    parent = path[:-2] if path.endswith("[]") else path[: path.rindex(".")]
    return (
        parent not in other
        or (path.endswith("[]") and other[parent] <= {"null", "empty list"})
        or other[parent] == {"null"}
    )


def _both_empty(path: str, kinds: set[str]) -> bool:
    """Whether the shapes differ only in how they write that a map or list is empty."""
    return kinds <= {"null", "empty list", "object"} and _listed(path, (*EMPTY_FIELDS, *HIDDEN_FIELDS))


def _is_open(path: str) -> bool:
    return any(f"{name}." in path for name in OPEN_OBJECTS)


def _listed(path: str, fields: Iterable[str]) -> bool:
    return any(path == field[1:] if field.startswith("^") else path.endswith(field) for field in fields)


def _brief(answer: Answer) -> str:
    return repr(answer.message or answer.body)[:160]
