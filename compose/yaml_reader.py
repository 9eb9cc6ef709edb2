"""Reads YAML text to nodes by the rules of Compose's parsers: no duplicate keys, ``yes`` and ``22:22`` are text. Pure.

Anchors and merge keys are resolved. Limits: 1 MiB of text, 50,000 values after aliases are expanded, 64 levels, 64 documents. The parser's
events are read one by one, so a file beyond a limit is refused before it is parsed whole.
"""

import base64
import binascii
import datetime as dt
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from compose.errors import ComposeFileError, Location
from compose.nodes import OVERRIDE, RESET, ListNode, MappingNode, Node, ScalarNode, ScalarValue, is_null
from covey.errors import TooLargeError

MAX_BYTES = 1 << 20
MAX_NODES = 50_000
MAX_DEPTH = 64
MAX_DOCUMENTS = 64

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = tuple(_TAG + name for name in ("int", "float", "bool", "null", "timestamp"))
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_QUOTES = ("'", '"', "|", ">")
_NULLS = ("", "~", "null", "Null", "NULL")


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
        loader = _Loader(text)
        try:
            nodes = list(_Reader(loader, file).documents())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ComposeFileError(
            " ".join(str(error.problem or error.context).split()), location=_location(mark, file) if mark else None
        ) from error
    except yaml.reader.ReaderError as error:
        raise ComposeFileError(f"not YAML: {error.reason}", location=_place_of(text, error.position, file)) from error
    if not nodes:
        raise ComposeFileError("empty compose file", location=Location(file, 1, 1))
    found = nodes[:1] + [node for node in nodes[1:] if not is_null(node)]
    return tuple(_mapping_of(node) for node in found)


def _mapping_of(node: Node) -> MappingNode:
    if not isinstance(node, MappingNode):
        raise ComposeFileError("top-level object must be a mapping", location=node.location)
    return node


def _place_of(text: str, position: int, file: str) -> Location:
    """The place of a byte of the text."""
    before = text.encode(errors="replace")[:position].decode(errors="replace")
    return Location(file, before.count("\n") + 1, len(before) - before.rfind("\n"))


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
    """The number; a leading zero means octal. None if the digits do not fit the base, or the number 64 bits."""
    digits = text.lstrip("+-").replace("_", "").lower()
    base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2], 8 if digits.startswith("0") and len(digits) > 1 else 10)
    try:
        number = int(digits, base) * (-1 if text.startswith("-") else 1)
    except ValueError:
        return None
    return number if -(1 << 63) <= number < 1 << 64 else None


def _date(text: str) -> str:
    """A date as Compose's parsers print it: they read a timestamp."""
    year, month, day = (int(part) for part in text.split("-"))
    try:
        return f"{dt.date(year, month, day).isoformat()} 00:00:00 +0000 UTC"
    except ValueError:
        return text


def _location(mark: Any, file: str) -> Location:
    return Location(file, mark.line + 1, mark.column + 1)


@dataclass(frozen=True, slots=True)
class _Anchored:
    """A value with an anchor, the number of values in it, and its levels."""

    node: Node
    size: int
    height: int


class _Reader:
    """Makes nodes of the parser's events; counts values and levels, so that a file cannot expand without end."""

    def __init__(self, events: Any, file: str) -> None:
        self._events = events
        self._file = file
        self._count = 0
        self._deepest = 0
        self._anchors: dict[str, _Anchored | None] = {}

    def documents(self) -> Iterator[Node]:
        """The roots of the documents."""
        number = 0
        while not self._events.check_event(yaml.StreamEndEvent):
            event = self._events.get_event()
            if isinstance(event, yaml.DocumentStartEvent):
                number += 1
                if number > MAX_DOCUMENTS:
                    place = _location(event.start_mark, self._file)
                    raise TooLargeError(f"{place}: {self._file} holds more than {MAX_DOCUMENTS} documents")
                self._anchors = {}
                yield self._node(self._events.get_event(), 0)

    def _node(self, event: Any, depth: int) -> Node:
        location = _location(event.start_mark, self._file)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), location, depth)
        self._grow(1, depth, location)
        if event.anchor is None:
            return self._content(event, location, depth)
        self._anchors[event.anchor] = None
        before, outer = self._count, self._deepest
        self._deepest = depth
        node = self._content(event, location, depth)
        self._anchors[event.anchor] = _Anchored(node, self._count - before + 1, self._deepest - depth)
        self._deepest = max(outer, self._deepest)
        return node

    def _alias(self, name: str, location: Location, depth: int) -> Node:
        if name not in self._anchors:
            raise ComposeFileError(f"found undefined alias: {name}", location=location)
        anchored = self._anchors[name]
        if anchored is None:
            raise ComposeFileError(f"the value of anchor {name} contains itself", location=location)
        self._grow(anchored.size, depth + anchored.height, location)
        return anchored.node

    def _grow(self, values: int, depth: int, location: Location) -> None:
        self._count += values
        self._deepest = max(self._deepest, depth)
        if self._count > MAX_NODES or depth > MAX_DEPTH:
            raise TooLargeError(
                f"{location}: {self._file} holds more than {MAX_NODES} values or is nested deeper than {MAX_DEPTH}"
            )

    def _content(self, event: Any, location: Location, depth: int) -> Node:
        tag = event.tag if event.tag in (RESET, OVERRIDE) else ""
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, location, tag)
        kind = "seq" if isinstance(event, yaml.SequenceStartEvent) else "map"
        if not tag and event.tag not in (None, "!", _TAG + kind):
            raise _unknown_tag(event.tag, location)
        if kind == "map":
            return self._mapping(location, tag, depth)
        items = []
        while not isinstance(item := self._events.get_event(), yaml.SequenceEndEvent):
            items.append(self._node(item, depth + 1))
        return ListNode(tuple(items), location, tag)

    def _scalar(self, event: Any, location: Location, tag: str) -> ScalarNode:
        text: str = event.value
        if event.tag is None or tag:
            value: ScalarValue = text if event.style in _QUOTES else scalar_value(text)
        elif event.tag in ("!", f"{_TAG}str"):
            value = text
        elif event.tag == f"{_TAG}binary":
            value = text = _binary(text, location)
        elif event.tag in _SCALAR_TAGS:
            value = scalar_value(text)
        else:
            raise _unknown_tag(event.tag, location)
        return ScalarNode(value, location, text, tag)

    def _mapping(self, location: Location, tag: str, depth: int) -> MappingNode:
        items: dict[str, Node] = {}
        keys: dict[str, Location] = {}
        merged: list[tuple[Node, Location]] = []
        while not isinstance(event := self._events.get_event(), yaml.MappingEndEvent):
            place = _location(event.start_mark, self._file)
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.style not in _QUOTES:
                merged.append((self._node(self._events.get_event(), depth + 1), place))
                continue
            key = self._key(event, place, depth)
            if key in items:
                raise ComposeFileError(f'mapping key "{key}" already defined at line {keys[key].line}', location=place)
            items[key] = self._node(self._events.get_event(), depth + 1)
            keys[key] = place
        for value, place in merged:
            _merge(items, keys, value, place)
        return MappingNode(items, location, keys, tag)

    def _key(self, event: Any, place: Location, depth: int) -> str:
        if not isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
            raise ComposeFileError("a key must be a text", location=place)
        before = self._count
        node = self._node(event, depth)
        self._count = before
        if not isinstance(node, ScalarNode):
            raise ComposeFileError("a key must be a text", location=place)
        if not isinstance(node.value, str) or node.value != node.text:
            raise ComposeFileError(f"non-string key: {node.text or 'null'}; write it in quotes", location=place)
        return node.value


def _merge(items: dict[str, Node], keys: dict[str, Location], value: Node, place: Location) -> None:
    """Add the keys of ``<<`` that the mapping does not have; of several mappings the first wins."""
    for part in value.items if isinstance(value, ListNode) else (value,):
        if not isinstance(part, MappingNode):
            raise ComposeFileError("map merge requires map or sequence of maps as the value", location=place)
        for key, item in part.items.items():
            if key not in items:
                items[key] = item
                keys[key] = part.keys.get(key, place)


def _binary(text: str, location: Location) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ComposeFileError("!!binary is not base64 of a UTF-8 text", location=location) from error


def _unknown_tag(tag: str, location: Location) -> ComposeFileError:
    return ComposeFileError(f"the tag {tag} has no meaning in a Compose file", location=location)
