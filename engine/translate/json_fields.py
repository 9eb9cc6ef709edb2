"""Reader of a JSON object as Go's decoder reads it.

Invariant: a field of the API with a value that was not read is refused by its path (501). Keys that the API does not define are ignored,
as Docker does: some clients send their own options in the body, such as `name` or `hijack`. Zero values count as absent, because Go
clients send them for what was not set. Keys match as in Go: exactly, or else case-insensitively. A value of a wrong type is refused in
the words of Go's decoder, which Docker's clients know.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import Any, TypeVar

from covey.errors import InvalidArgumentError, UnsupportedError

E = TypeVar("E", bound=IntEnum)
T = TypeVar("T")

# The fields of the API that no handler reads; all others have a row or a reader.
UNSUPPORTED_FIELDS = frozenset({"clustervolumespec", "networkattachmentspec", "pluginspec"})


def is_zero(value: Any) -> bool:
    """Whether it is Go's zero value, recursively: ``{"Limits": {}}`` is zero."""
    if isinstance(value, dict):
        return all(is_zero(item) for item in value.values())
    return value is None or value is False or value in (0, "") or value == []


class JsonFields:
    """A JSON object of which each field is read once. ``path`` names it in errors. ``refuse_unsupported`` ends the reading."""

    def __init__(self, value: Any, path: str = "") -> None:
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise wrong_type(path, value, "object")
        self.path = path
        self._values: dict[str, Any] = value
        self._names = {key.casefold(): key for key in value}
        self._taken: set[str] = set()

    def path_of(self, name: str) -> str:
        """The path of a field, for messages."""
        return f"{self.path}.{name}" if self.path else name

    def raw(self, name: str) -> Any:
        """The value without a check of its type; None when absent."""
        key = name if name in self._values else self._names.get(name.casefold())
        if key is None:
            return None
        self._taken.add(key)
        return self._values[key]

    def has(self, name: str) -> bool:
        """Whether the key is present and not null. Does not count as reading it."""
        key = name if name in self._values else self._names.get(name.casefold())
        return key is not None and self._values[key] is not None

    def names(self) -> tuple[str, ...]:
        """The keys of the object."""
        return tuple(self._values)

    def text(self, name: str, default: str = "") -> str:
        return self._typed(name, str, default)

    def flag(self, name: str) -> bool:
        return self._typed(name, bool, default=False)

    def number(self, name: str, default: int = 0) -> int:
        value = self.raw(name)
        if value is None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong_type(name, "int64", value)
        if not -(2**63) <= value < 2**63:
            raise self._wrong_type(name, "int64", value)
        return value

    def count(self, name: str, default: int = 0) -> int:
        """An integer that is not negative."""
        value = self.number(name, default)
        if value < 0:
            raise self._wrong_type(name, "uint64", value)
        return value

    def ratio(self, name: str) -> float:
        value = self.raw(name)
        if value is None:
            return 0.0
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong_type(name, "float64", value)
        return float(value)

    def text_list(self, name: str) -> tuple[str, ...]:
        value = self._typed(name, list, [])
        return tuple(self._texts(name, value))

    def text_map(self, name: str) -> dict[str, str]:
        value = self._typed(name, dict, {})
        return dict(zip(value, self._texts(name, value.values()), strict=True))

    def child(self, name: str) -> "JsonFields | None":
        """The object below a key; None when absent or null."""
        value = self.raw(name)
        return None if value is None else JsonFields(value, self.path_of(name))

    def read(self, name: str, reader: "Callable[[JsonFields], T]") -> T | None:
        """The object below a key through ``reader``, which must read all of its fields; None when absent."""
        child = self.child(name)
        if child is None:
            return None
        result = reader(child)
        child.refuse_unsupported()
        return result

    def read_all(self, name: str, reader: "Callable[[JsonFields], T]") -> tuple[T, ...]:
        """Each object of a list through ``reader``."""
        results = []
        for index, value in enumerate(self._typed(name, list, [])):
            item = JsonFields(value, f"{self.path_of(name)}[{index}]")
            results.append(reader(item))
            item.refuse_unsupported()
        return tuple(results)

    def choice(self, name: str, names: Mapping[str, E], default: E, refusal: str = "") -> E:
        """One of the names; ``default`` when empty or absent. ``refusal`` words the error, with ``{}`` for the value."""
        value = self.text(name)
        if not value:
            return default
        if value not in names:
            words = refusal.replace("{}", value) if refusal else f'invalid {self.path_of(name)}: "{value}"'
            raise InvalidArgumentError(f"{words}; use one of {', '.join(names)}")
        return names[value]

    def constant(self, name: str, *accepted: Any) -> None:
        """Reads a field that may only have one of the accepted values, or zero."""
        value = self.raw(name)
        if not is_zero(value) and value not in accepted:
            raise UnsupportedError(f"{self.path_of(name)} = {value!r} is not supported by Covey yet; remove it")

    def refuse_unsupported(self) -> None:
        """Refuses the unsupported fields of the API that were not read."""
        for key, value in self._values.items():
            if key.casefold() in UNSUPPORTED_FIELDS and key not in self._taken and not is_zero(value):
                raise UnsupportedError(f"{self.path_of(key)} is not supported by Covey yet; remove it")

    def _typed(self, name: str, kind: type[T], default: T | None = None) -> T:
        value = self.raw(name)
        if value is None:
            return default if default is not None else kind()
        if not isinstance(value, kind):
            raise self._wrong_type(name, _GO_TYPES[kind], value)
        return value

    def _texts(self, name: str, values: Iterable[Any]) -> Iterable[str]:
        """The items of a list or map, each a string; null is an empty one, as in Go."""
        for item in values:
            if item is not None and not isinstance(item, str):
                raise self._wrong_type(name, "string", item)
            yield item or ""

    def _wrong_type(self, name: str, expected: str, value: Any) -> InvalidArgumentError:
        return wrong_type(self.path_of(name), value, expected)


_GO_TYPES: dict[type, str] = {str: "string", bool: "bool", list: "[]string", dict: "map[string]string"}
_GO_KINDS: dict[type, str] = {str: "string", int: "number", float: "number", list: "array", dict: "object"}
_GO_NUMBERS = frozenset({"int64", "uint64", "float64"})


def wrong_type(path: str, value: Any, expected: str) -> InvalidArgumentError:
    """The refusal of a value whose type does not fit the field at the path; an empty path is the whole body."""
    target = f"Go struct field {path}" if path else "Go value"
    kind = "bool" if isinstance(value, bool) else _GO_KINDS.get(type(value), "null")
    if kind == "number" and expected in _GO_NUMBERS:  # its sign, size or fraction does not fit
        kind = f"number {value}"
    return InvalidArgumentError(f"json: cannot unmarshal {kind} into {target} of type {expected}")


def omit_empty(**values: Any) -> dict[str, Any]:
    """A JSON object without empty fields, as with Go's ``omitempty``. Empty objects are kept: they are pointers in Go."""
    return {key: value for key, value in values.items() if value is not None and value not in ("", 0, False, [], ())}


def omit_none(**values: Any) -> dict[str, Any]:
    """A JSON object without the fields that are None, as with a pointer in Go and ``omitempty``."""
    return {key: value for key, value in values.items() if value is not None}
