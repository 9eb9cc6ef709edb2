"""``.env`` files: quotes, comments, ``export``, values over several lines, and variables within values. Pure."""

import re
from collections import ChainMap
from collections.abc import Callable, Mapping

from compose.variables import substitute_compose
from covey.errors import InvalidArgumentError

_KEY = re.compile(r"\s*(?:export\s+)?(?P<key>[A-Za-z_][A-Za-z0-9_.\-\[\]]*)[ \t]*(?P<sign>[=:])?[ \t]*")
_BLANK = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n)+|[ \t]*(?:#[^\n]*)?\Z")
_PLAIN = re.compile(r"[^\n]*")
_COMMENT = re.compile(r"(?:^|[ \t])#.*")
_ESCAPES = {
    "n": "\n",
    "r": "\r",
    "t": "\t",
    '"': '"',
    "\\": "\\",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "$": "$$",
}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_BYTE_ORDER_MARK = "﻿"

MAX_TOTAL = 4 << 20
"""Characters of all values of a file."""
Lookup = Callable[[str], str | None]


def parse_dotenv(text: str, variables: Mapping[str, str], name: str) -> dict[str, str | None]:
    """The variables of a file, in its order. A name without ``=`` has the value of ``variables`` or None.

    Args:
        text: the file's text.
        variables: values that ``$NAME`` stands for; those of the file itself come after them.
        name: the file's name in errors.

    Raises:
        InvalidArgumentError: a line that is not a variable, an open quote, a required variable that is not set; with the line.
    """
    text = text.removeprefix(_BYTE_ORDER_MARK)
    result: dict[str, str | None] = {}
    own: dict[str, str] = {}
    known = ChainMap(dict(variables), own)
    length = 0
    at = 0
    while at < len(text):
        blank = _BLANK.match(text, at)
        if blank and blank.end() > at:
            at = blank.end()
            continue
        found = _KEY.match(text, at)
        if found is None or (found["sign"] is None and text[found.end() : found.end() + 1] not in ("\n", "\r", "")):
            raise _error(text, at, name, "unexpected character in variable name")
        if found["sign"] is None:
            result[found["key"]] = variables.get(found["key"])
            at = found.end()
            continue
        try:
            value, after = _value(text, found.end(), known)
        except ValueError as error:
            raise _error(text, at, name, str(error)) from error
        length += len(value)
        if length > MAX_TOTAL:
            raise _error(text, at, name, f"the values are longer than {MAX_TOTAL >> 20} MiB")
        result[found["key"]] = own[found["key"]] = value
        at = after
    return result


def _value(text: str, at: int, variables: Mapping[str, str]) -> tuple[str, int]:
    """A value and the index after it."""
    quote = text[at : at + 1]
    if quote not in ("'", '"') or not quote:
        line = _PLAIN.match(text, at)
        raw = line[0] if line else ""
        value = _COMMENT.sub("", raw).strip()
        return substitute_compose(value, variables), at + len(raw)
    end = _closing_quote(text, at)
    if end < 0:
        raise ValueError(f"unterminated quoted value {text[at:].splitlines()[0]}")
    rest = _PLAIN.match(text, end + 1)
    after = end + 1 + (len(rest[0]) if rest else 0)
    inner = text[at + 1 : end]
    if quote == "'":
        return inner, after
    expanded = _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[0]), inner)
    return substitute_compose(expanded, variables), after


def _closing_quote(text: str, at: int) -> int:
    """The index of the quote that ends the value; a backslash escapes one."""
    index = at + 1
    while index < len(text):
        if text[index] == "\\":
            index += 2
        elif text[index] == text[at]:
            return index
        else:
            index += 1
    return -1


def _error(text: str, at: int, name: str, reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{name}:{text.count(chr(10), 0, at) + 1}: {reason}")
