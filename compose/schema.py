"""What the values of a Compose file may be: kinds of values, and their check with messages in the client's wording. Pure."""

import math
import re
from collections.abc import Callable, Iterator, Mapping

import msgspec

from compose.errors import ComposeFileError, Location
from compose.nodes import ListNode, MappingNode, Node, ScalarNode, child_path, plain

_NAMES = {
    "string": "string",
    "number": "number",
    "integer": "integer",
    "boolean": "boolean",
    "null": "null",
    "object": "mapping",
    "array": "list",
}


class Scalar(msgspec.Struct, frozen=True):
    """A single value of one of some types.

    Attributes:
        types: string, number, integer, boolean, null.
        form: the name of a format that a text must have, and the check.
        choices: the only values allowed; empty means any.
    """

    types: tuple[str, ...]
    form: tuple[str, Callable[[str], bool]] | None = None
    choices: tuple[str, ...] = ()


class ListOf(msgspec.Struct, frozen=True):
    item: "Kind"
    unique: bool = False


class MapOf(msgspec.Struct, frozen=True):
    """A mapping from names of the file's author; ``pattern`` is what a name must match."""

    value: "Kind"
    pattern: re.Pattern[str] | None = None


class Field(msgspec.Struct, frozen=True):
    """A key of a section.

    Attributes:
        kind: what its value may be.
        since: the minor version 3.N of the format that has it first.
        form: the name of the conversion to its canonical form; empty keeps the value, and the keys of a table are converted in turn.
        keep_empty: an empty or zero value has a meaning and stays.
        hidden: the key is not part of the printed form.
    """

    kind: "Kind"
    since: int = 0
    form: str = ""
    keep_empty: bool = False
    hidden: bool = False


class Table(msgspec.Struct, frozen=True):
    """A mapping with known keys.

    Attributes:
        fields: the keys.
        required: the keys that must be there.
        open_since: the minor version from which other keys are allowed and ignored; None for never.
        extensions_since: the minor version from which ``x-`` keys are allowed; None for never.
    """

    fields: Mapping[str, Field]
    required: tuple[str, ...] = ()
    open_since: int | None = None
    extensions_since: int | None = None


class OneOf(msgspec.Struct, frozen=True):
    """One of several kinds of different shape; an error is that of the first, or of the one that came furthest."""

    kinds: tuple["Kind", ...] = ()


Kind = Scalar | ListOf | MapOf | Table | OneOf


class _Fault(msgspec.Struct, frozen=True):
    path: str
    reason: str
    location: Location

    def depth(self) -> int:
        return self.path.count(".") if self.path else -1


def validate(root: Node, kind: Kind, version: int) -> None:
    """Check a file.

    Args:
        root: the file.
        kind: what it must be.
        version: N of the format's version 3.N.

    Raises:
        ComposeFileError: the most specific fault, with path and place.
    """
    faults = list(_faults(root, kind, version, ""))
    if faults:
        fault = max(faults, key=_Fault.depth)
        raise ComposeFileError(f"{fault.path or '(root)'} {fault.reason}", location=fault.location)


def _faults(node: Node, kind: Kind, version: int, path: str) -> Iterator[_Fault]:
    match kind:
        case Scalar():
            yield from _scalar_faults(node, kind, path)
        case ListOf():
            yield from _list_faults(node, kind, version, path)
        case MapOf():
            yield from _map_faults(node, kind, version, path)
        case Table():
            yield from _table_faults(node, kind, version, path)
        case OneOf():
            yield from _one_of_faults(node, kind, version, path)


def _scalar_faults(node: Node, kind: Scalar, path: str) -> Iterator[_Fault]:
    if not isinstance(node, ScalarNode) or not any(is_type(node.value, name) for name in kind.types):
        yield _Fault(path, _must_be(kind.types), node.location)
    elif isinstance(node.value, str) and kind.form and not kind.form[1](node.value):
        yield _Fault(path, f"Does not match format '{kind.form[0]}'", node.location)
    elif kind.choices and node.value not in kind.choices:
        listed = ", ".join(f'"{choice}"' for choice in kind.choices)
        yield _Fault(path, f"must be one of the following: {listed}", node.location)


def _list_faults(node: Node, kind: ListOf, version: int, path: str) -> Iterator[_Fault]:
    if not isinstance(node, ListNode):
        yield _Fault(path, _must_be(("array",)), node.location)
        return
    seen: dict[str, int] = {}
    for index, item in enumerate(node.items):
        yield from _faults(item, kind.item, version, child_path(path, index))
        if not kind.unique:
            continue
        first = seen.setdefault(repr(plain(item)), index)
        if first != index:
            yield _Fault(path, f"array items[{first},{index}] must be unique", item.location)


def _map_faults(node: Node, kind: MapOf, version: int, path: str) -> Iterator[_Fault]:
    if not isinstance(node, MappingNode):
        yield _Fault(path, _must_be(("object",)), node.location)
        return
    for key, item in node.items.items():
        if kind.pattern and not kind.pattern.search(key):
            yield _unknown(node, key, path)
        else:
            yield from _faults(item, kind.value, version, child_path(path, key))


def _table_faults(node: Node, kind: Table, version: int, path: str) -> Iterator[_Fault]:
    if not isinstance(node, MappingNode):
        yield _Fault(path, _must_be(("object",)), node.location)
        return
    for key, item in node.items.items():
        known = kind.fields.get(key)
        if known and known.since <= version:
            yield from _faults(item, known.kind, version, child_path(path, key))
        elif not (
            _since(kind.open_since, version) or (key.startswith("x-") and _since(kind.extensions_since, version))
        ):
            yield _unknown(node, key, path)
    for key in kind.required:
        if key not in node.items:
            yield _Fault(path, f"{key} is required", node.location)


def _one_of_faults(node: Node, kind: OneOf, version: int, path: str) -> Iterator[_Fault]:
    first: list[_Fault] = []
    for alternative in kind.kinds:
        faults = list(_faults(node, alternative, version, path))
        if not faults:
            return
        if not first or max(map(_Fault.depth, faults)) > max(map(_Fault.depth, first)):
            first = faults
    yield from first


def _since(first: int | None, version: int) -> bool:
    return first is not None and first <= version


def _unknown(node: MappingNode, key: str, path: str) -> _Fault:
    return _Fault(path, f"Additional property {key} is not allowed", node.keys.get(key, node.location))


def _must_be(types: tuple[str, ...]) -> str:
    names = [_NAMES[name] for name in types]
    return "must be a " + (f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0])


def is_type(value: object, name: str) -> bool:
    """Whether a value is of a type of JSON."""
    if isinstance(value, bool) or value is None:
        return (name == "boolean" and value is not None) or (name == "null" and value is None)
    if isinstance(value, str):
        return name == "string"
    if isinstance(value, float):
        return math.isfinite(value) and (name == "number" or (name == "integer" and _is_whole(value)))
    return name == "number" or (name == "integer" and isinstance(value, int) and _is_whole(value))


def _is_whole(value: float) -> bool:
    """Whether a number is an integer of 64 bits."""
    return abs(value) < 1 << 63 and value == int(value)
