"""Functions that every Go template has. Pure.

A function raises TypeError, ValueError, KeyError or IndexError for arguments that it cannot take; the renderer names it.
"""

import html
import re
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from covey.go_template.printf import printf
from covey.go_template.values import ABSENT, go_text, type_name

LAZY = frozenset({"and", "or"})
"""Functions whose arguments are evaluated only until the result is known; the renderer does that."""
_HTML_QUOTES = {"&quot;": "&#34;", "&#x27;": "&#39;"}
_JS_UNSAFE = re.compile(r"[\\'\"<>&=\x00-\x1f]")


def print_text(*items: Any) -> str:
    """Go's Sprint: values side by side, with a space between two of which neither is a string."""
    parts: list[str] = []
    for place, item in enumerate(items):
        if place and not isinstance(item, str) and not isinstance(items[place - 1], str):
            parts.append(" ")
        parts.append(go_text(item))
    return "".join(parts)


def index(value: Any, *keys: Any) -> Any:
    """The element at the keys; ABSENT for a missing key of a map."""
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, ABSENT)
        elif isinstance(value, str | list | tuple):
            if not 0 <= key < len(value):
                raise IndexError(f"index out of range: {key}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        else:
            raise TypeError(f"can't index item of type {type_name(value)}")
    return value


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    if not isinstance(value, str | list | tuple):
        raise TypeError(f"can't slice item of type {type_name(value)}")
    end = len(value) if end is None else end
    if not 0 <= start <= end <= len(value):
        raise IndexError(f"index out of range: {start}:{end}")
    return value[start:end]


def _length(value: Any) -> int:
    if not isinstance(value, str | list | tuple | Mapping):
        raise TypeError(f"len of type {type_name(value)}")
    return len(value.encode("utf-8", "surrogateescape")) if isinstance(value, str) else len(value)


def _require_comparable(left: Any, right: Any) -> None:
    if type_name(left) != type_name(right):
        raise TypeError(f"incompatible types for comparison: {type_name(left)} and {type_name(right)}")


def _equal(left: Any, *others: Any) -> bool:
    if not others:
        raise TypeError("missing argument for comparison")
    for other in others:
        _require_comparable(left, other)
    return left in others


def _less(left: Any, right: Any) -> bool:
    _require_comparable(left, right)
    if not isinstance(left, str | int | float) or isinstance(left, bool):
        raise TypeError("invalid type for comparison")
    return bool(left < right)


def _html(*items: Any) -> str:
    text = html.escape(print_text(*items))
    for found, wanted in _HTML_QUOTES.items():
        text = text.replace(found, wanted)
    return text


def _js(*items: Any) -> str:
    def escaped(match: re.Match[str]) -> str:
        mark = match[0]
        return f"\\{mark}" if mark in "\\'\"" else f"\\u{ord(mark):04X}"

    return _JS_UNSAFE.sub(escaped, print_text(*items))


BUILTINS: Mapping[str, Callable[..., Any]] = {
    "and": lambda *items: next((item for item in items if not item), items[-1]),
    "or": lambda *items: next((item for item in items if item), items[-1]),
    "not": lambda value: not value,
    "len": _length,
    "index": index,
    "slice": _slice,
    "print": print_text,
    "println": lambda *items: " ".join(go_text(item) for item in items) + "\n",
    "printf": printf,
    "html": _html,
    "js": _js,
    "urlquery": lambda *items: urllib.parse.quote_plus(print_text(*items)),
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": _less,
    "le": lambda left, right: not _less(right, left),
    "gt": lambda left, right: _less(right, left),
    "ge": lambda left, right: not _less(left, right),
}
