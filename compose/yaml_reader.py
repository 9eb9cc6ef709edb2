"""Reads YAML text to nodes by the rules of Compose's parsers: no duplicate keys, ``yes`` and ``22:22`` are text. Pure.

Anchors and merge keys are resolved. Limits: 1 MiB of text, 100,000 values after aliases are expanded, 64 levels.
"""

import datetime as dt
import math
import re
from typing import Any

import yaml

from compose.errors import ComposeFileError, Location
from compose.nodes import OVERRIDE, RESET, ListNode, MappingNode, Node, ScalarNode, ScalarValue, is_null
from covey.errors import TooLargeError

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
MAX_DEPTH = 64
MAX_PARSED_DEPTH = 200

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_QUOTES = ("'", '"', "|", ">")
_NULLS = ("", "~", "null", "Null", "NULL")


class _BoundedLoader(_Loader):  # type: ignore[misc]
    """Refuses deep nesting while it parses: the parser recurses in C and would overflow the stack of the process.

    It leaves the types of plain values to ``scalar_value``: PyYAML's own search for them takes a third of the time.
    """

    _depth = 0

    def resolve(self, kind: type, value: str | None, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return f"{_TAG}merge" if value == "<<" and implicit[0] else f"{_TAG}str"
        return f"{_TAG}seq" if kind is yaml.SequenceNode else f"{_TAG}map"

    def descend_resolver(self, _parent: Any, _index: Any) -> None:
        self._depth += 1
        if self._depth > MAX_PARSED_DEPTH:
            raise _TooDeepError

    def ascend_resolver(self) -> None:
        self._depth -= 1


class _TooDeepError(Exception):
    pass


def read_yaml(text: str, file: str) -> MappingNode:
    """The content of a file's first document; as ``read_documents``."""
    return read_documents(text, file)[0]


def read_documents(text: str, file: str) -> tuple[MappingNode, ...]:
    """The contents of a file's documents; empty ones after the first are left out.

    Args:
        text: the file's text.
        file: its name in errors.

    Raises:
        ComposeFileError: not YAML, a duplicate key, an endless alias, or the top level is not a mapping.
        TooLargeError: larger than the limits.
    """
    if len(text) > MAX_BYTES:
        raise TooLargeError(f"{file} is larger than {MAX_BYTES >> 20} MiB")
    try:
        loader = _BoundedLoader(text)
        try:
            roots = []
            while loader.check_node():
                roots.append(loader.get_node())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ComposeFileError(
            " ".join(str(error.problem or error.context).split()), location=_location(mark, file) if mark else None
        ) from error
    except _TooDeepError:
        raise TooLargeError(f"{file} is nested deeper than {MAX_DEPTH}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ComposeFileError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if not roots:
        raise ComposeFileError("empty compose file", location=Location(file, 1, 1))
    reader = _Reader(file)
    nodes = [reader.node(root, 0) for root in roots]
    found = nodes[:1] + [node for node in nodes[1:] if not is_null(node)]
    return tuple(_mapping_of(node) for node in found)


def _mapping_of(node: Node) -> MappingNode:
    if not isinstance(node, MappingNode):
        raise ComposeFileError("top-level object must be a mapping", location=node.location)
    return node


def scalar_value(text: str) -> ScalarValue:
    """The value of a plain (not quoted) text."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text) and (number := _integer(text)) is not None:
        return number
    if _FLOAT.fullmatch(text.replace("_", "")) and text[0] != "_":
        decimal = float(text.replace("_", ""))
        return decimal if math.isfinite(decimal) else text
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", "").lower())
    if _DATE.fullmatch(text):
        return _date(text)
    return text


def _integer(text: str) -> int | None:
    """The number; a leading zero means octal. None if the digits do not fit the base."""
    digits = text.lstrip("+-").replace("_", "").lower()
    base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2], 8 if digits.startswith("0") and len(digits) > 1 else 10)
    try:
        return int(digits, base) * (-1 if text.startswith("-") else 1)
    except ValueError:
        return None


def _date(text: str) -> str:
    """A date as Compose's parsers print it: they read a timestamp."""
    year, month, day = (int(part) for part in text.split("-"))
    try:
        return f"{dt.date(year, month, day).isoformat()} 00:00:00 +0000 UTC"
    except ValueError:
        return text


def _location(mark: Any, file: str) -> Location:
    return Location(file, mark.line + 1, mark.column + 1)


class _Reader:
    """Converts the parser's nodes; counts values and levels, so that a file cannot expand without end."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._count = 0

    def node(self, source: Any, depth: int) -> Node:
        location = _location(source.start_mark, self._file)
        self._count += 1
        if self._count > MAX_NODES or depth > MAX_DEPTH:
            raise TooLargeError(
                f"{location}: {self._file} holds more than {MAX_NODES} values or is nested deeper than {MAX_DEPTH}"
            )
        tag = source.tag if source.tag in (RESET, OVERRIDE) else ""
        if isinstance(source, yaml.ScalarNode):
            return self._scalar(source, location, tag)
        if isinstance(source, yaml.SequenceNode):
            self._check_tag(source, location, "seq", tag)
            return ListNode(tuple(self.node(item, depth + 1) for item in source.value), location, tag)
        self._check_tag(source, location, "map", tag)
        return self._mapping(source, location, tag, depth)

    def _check_tag(self, source: Any, location: Location, kind: str, tag: str) -> None:
        if not tag and source.tag != _TAG + kind:
            raise ComposeFileError(f"the tag {source.tag} has no meaning in a Compose file", location=location)

    def _scalar(self, source: Any, location: Location, tag: str) -> ScalarNode:
        text: str = source.value
        quoted = source.style in _QUOTES
        if quoted or source.tag == "!" or (source.tag == f"{_TAG}str" and self._is_tagged(source)):
            return ScalarNode(text, location, text, tag)
        if not tag and not source.tag.startswith(_TAG):
            raise ComposeFileError(f"the tag {source.tag} has no meaning in a Compose file", location=location)
        value = scalar_value(text)
        return ScalarNode(value, location, text, tag)

    def _is_tagged(self, source: Any) -> bool:
        """Whether ``!!str`` is written before the value: the value's place then begins at the tag."""
        mark = source.start_mark
        return bool(source.end_mark.column - mark.column > len(source.value) or source.end_mark.line != mark.line)

    def _mapping(self, source: Any, location: Location, tag: str, depth: int) -> MappingNode:
        items: dict[str, Node] = {}
        keys: dict[str, Location] = {}
        merged: list[tuple[Any, Location]] = []
        for key_source, value_source in source.value:
            place = _location(key_source.start_mark, self._file)
            if key_source.tag == f"{_TAG}merge":
                merged.append((value_source, place))
                continue
            if not isinstance(key_source, yaml.ScalarNode):
                raise ComposeFileError("a key must be a text", location=place)
            key = key_source.value
            if key_source.style not in _QUOTES and not _is_plain_key(key):
                raise ComposeFileError(f"non-string key: {key or 'null'}; write it in quotes", location=place)
            if key in items:
                raise ComposeFileError(f'mapping key "{key}" already defined at line {keys[key].line}', location=place)
            items[key] = self.node(value_source, depth + 1)
            keys[key] = place
        for value_source, place in merged:
            self._merge(items, keys, self.node(value_source, depth + 1), place)
        return MappingNode(items, location, keys, tag)

    def _merge(self, items: dict[str, Node], keys: dict[str, Location], value: Node, place: Location) -> None:
        """Add the keys of ``<<`` that the mapping does not have; of several mappings the first wins."""
        for part in value.items if isinstance(value, ListNode) else (value,):
            if not isinstance(part, MappingNode):
                raise ComposeFileError("map merge requires map or sequence of maps as the value", location=place)
            for key, item in part.items.items():
                if key not in items:
                    items[key] = item
                    keys[key] = part.keys.get(key, place)


def _is_plain_key(text: str) -> bool:
    """Whether a key without quotes is a text: numbers, booleans, dates and null are not."""
    return isinstance(scalar_value(text), str) and not _DATE.fullmatch(text)
