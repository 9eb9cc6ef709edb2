"""Field tables: one row for each field of a JSON object, from which reading and writing both follow.

A ``FieldTable`` joins a struct of ``covey.objects`` to an object of Docker's JSON. A row names the JSON key, the struct's field
and a codec for the value.

Invariant: every field of the struct has exactly one row, else the table cannot be built; ``from_json(to_json(x)) == x`` (a property test
holds that). A key without a row is ignored, or refused by ``JsonFields.refuse_unsupported``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Generic, TypeVar

import msgspec

from covey.errors import InvalidArgumentError
from engine.translate.enum_names import enum_name
from engine.translate.json_fields import JsonFields, is_zero

S = TypeVar("S", bound=msgspec.Struct)

_GO_ZEROS: dict[Any, Any] = {int: 0, float: 0.0, str: "", bool: False}
_EMPTY: tuple[Any, ...] = ("", 0, False, [], ())


class Codec(msgspec.Struct, frozen=True):
    """``read(fields, key, default)`` gives the struct's value of a key that is present; ``write(value)`` its JSON, None for nothing."""

    read: Callable[[JsonFields, str, Any], Any]
    write: Callable[[Any], Any] = lambda value: value


TEXT = Codec(lambda fields, key, default: fields.text(key) or default)
FLAG = Codec(lambda fields, key, _: fields.flag(key))
INTEGER = Codec(lambda fields, key, _: fields.number(key))
COUNT = Codec(lambda fields, key, _: fields.count(key))
"""An integer that is not negative."""
COUNT_OR_DEFAULT = Codec(lambda fields, key, default: fields.count(key) or default)
"""A count of which zero means the default."""
NUMBER = Codec(lambda fields, key, _: fields.ratio(key))
TEXTS = Codec(lambda fields, key, _: fields.text_list(key), list)
TEXT_MAP_ALWAYS = Codec(lambda fields, key, _: fields.text_map(key))
"""A map that is also written when it is empty."""
TEXT_MAP = Codec(lambda fields, key, _: fields.text_map(key), lambda value: value or None)
PEM = Codec(lambda fields, key, _: fields.text(key).encode(), bytes.decode)
PEM_WRITE_ONLY = Codec(PEM.read, lambda _: None)
"""A certificate or key that clients may set and never see."""


def choice(names: Mapping[str, IntEnum], refusal: str = "") -> Codec:
    """One of an enumeration's names; an empty one means the default. ``refusal`` are Docker's words for another one, with ``{}`` for it."""
    return Codec(lambda fields, key, default: fields.choice(key, names, default, refusal), enum_name)


def nested(table: "FieldTable[Any]") -> Codec:
    """An object below the key. The struct's field is None where the object is absent."""
    return Codec(lambda fields, key, default: fields.read(key, table.read) or default, table.write)


def list_of(table: "FieldTable[Any]") -> Codec:
    """A list of objects."""
    return Codec(
        lambda fields, key, _: fields.read_all(key, table.read), lambda value: [table.write(item) for item in value]
    )


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One field of the struct. ``key`` is a JSON key, or ``OUTER.INNER`` for a key in an object that the struct does not have.

    ``default`` applies where the key is absent; it is the struct's own if not given. ``required`` is the sentence that refuses an absent or
    empty value, with ``{path}`` for its path. Zero values are not written, as with Go's ``omitempty``, unless ``always`` is set; None
    never is, but ``always`` then writes the OUTER object.
    """

    key: str
    field: str
    codec: Codec
    default: Any = msgspec.UNSET
    required: str = ""
    always: bool = False


class Constant(msgspec.Struct, frozen=True, kw_only=True):
    """A key that may only have one of the ``accepted`` values and then changes nothing. ``written`` is shown to clients; None: nothing."""

    key: str
    accepted: tuple[Any, ...]
    written: Any = None


class Inline(msgspec.Struct, frozen=True, kw_only=True):
    """A field that is a struct whose keys stand in the same JSON object, such as ``Name`` and ``Labels`` of ``annotations``."""

    field: str
    table: "FieldTable[Any]"


class Custom(msgspec.Struct, frozen=True, kw_only=True):
    """Fields with a rule of their own. ``read`` takes its keys from the object; both give mappings: by field, and by JSON key."""

    fields: tuple[str, ...]
    read: Callable[[JsonFields], Mapping[str, Any]]
    write: Callable[[Any], Mapping[str, Any]]


Entry = Row | Constant | Inline | Custom


class FieldTable(Generic[S]):
    """Both directions of the translation of one struct."""

    def __init__(self, kind: type[S], entries: Sequence[Entry]) -> None:
        """Raises TypeError when a field of the struct has no row, or more than one."""
        self.kind = kind
        self.entries = tuple(entries)
        named = [field for entry in entries for field in _fields_of(entry)]
        declared = msgspec.structs.fields(kind)
        if sorted(named) != sorted(field.name for field in declared):
            wrong = set(named) ^ {field.name for field in declared} or {name for name in named if named.count(name) > 1}
            raise TypeError(
                f"the table of {kind.__name__} must have one row for each field: {', '.join(sorted(wrong))}"
            )
        self._defaults = {field.name: _default_of(field) for field in declared}

    def from_json(self, value: Any, path: str = "") -> S:
        """The struct of a JSON object.

        Raises:
            InvalidArgumentError: a value has the wrong type or is impossible. UnsupportedError: a key has no row. Both name the path.
        """
        fields = JsonFields(value, path)
        item = self.read(fields)
        fields.refuse_unsupported()
        return item

    def read(self, fields: JsonFields) -> S:
        """The struct of an object whose unknown keys the caller refuses."""
        values: dict[str, Any] = {}
        outer: dict[str, JsonFields] = {}
        for entry in self.entries:
            if isinstance(entry, Row):
                head, dot, inner = entry.key.partition(".")
                if dot and head not in outer:
                    outer[head] = fields.child(head) or JsonFields({}, fields.path_of(head))
                values[entry.field] = self._read_row(entry, outer[head] if dot else fields, inner or head)
            elif isinstance(entry, Inline):
                values[entry.field] = entry.table.read(fields)
            elif isinstance(entry, Custom):
                values.update(entry.read(fields))
            else:
                fields.constant(entry.key, *entry.accepted)
        for child in outer.values():
            child.refuse_unsupported()
        return self.kind(**values)

    def write(self, item: S) -> dict[str, Any]:
        """The JSON object of a struct."""
        result: dict[str, Any] = {}
        for entry in self.entries:
            if isinstance(entry, Row):
                _write_row(result, entry, getattr(item, entry.field))
            elif isinstance(entry, Inline):
                result.update(entry.table.write(getattr(item, entry.field)))
            elif isinstance(entry, Custom):
                result.update(entry.write(item))
            elif entry.written is not None:
                result[entry.key] = entry.written
        return result

    def _read_row(self, row: Row, fields: JsonFields, key: str) -> Any:
        default = self._defaults[row.field] if row.default is msgspec.UNSET else row.default
        value = row.codec.read(fields, key, default) if fields.has(key) else default
        if row.required and is_zero(fields.raw(key)):
            raise InvalidArgumentError(row.required.format(path=fields.path_of(key)))
        return value


def _write_row(result: dict[str, Any], row: Row, value: Any) -> None:
    head, dot, inner = row.key.partition(".")
    if dot and row.always:
        result.setdefault(head, {})
    written = None if value is None else row.codec.write(value)
    if written is None or (written in _EMPTY and not row.always):
        return
    if dot:
        result.setdefault(head, {})[inner] = written
    else:
        result[head] = written


def _fields_of(entry: Entry) -> Iterable[str]:
    if isinstance(entry, Constant):
        return ()
    return entry.fields if isinstance(entry, Custom) else (entry.field,)


def _default_of(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return _GO_ZEROS.get(field.type)  # a field that must be given is Go's zero where a client leaves it out
