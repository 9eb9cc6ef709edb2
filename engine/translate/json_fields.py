"""Reading a JSON object field by field, so that nothing in it is dropped in silence.

Invariant: every key that holds a value and that no reader took is refused by name (501). Zero values, which Go clients send for what
was not asked, are taken as absent. Keys match as in Go: exactly, or else without regard to case.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, TypeVar

from covey.errors import InvalidArgumentError, UnsupportedError

E = TypeVar("E", bound=IntEnum)
T = TypeVar("T")


def is_zero(value: Any) -> bool:
    """Whether Go would call it the zero value, looked at deeply: ``{"Limits": {}}`` is zero."""
    if isinstance(value, dict):
        return all(is_zero(item) for item in value.values())
    return value is None or value is False or value in (0, "") or value == []


class JsonFields:
    """One JSON object on its way into one of ours. ``path`` names it in refusals; end with ``done``."""

    def __init__(self, value: Any, path: str = "") -> None:
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise InvalidArgumentError(f"{path or 'the request body'} must be a JSON object, not {_kind(value)}")
        self.path = path
        self._values: dict[str, Any] = value
        self._names = {key.casefold(): key for key in value}
        self._taken: set[str] = set()

    def path_of(self, name: str) -> str:
        """How a refusal calls a field of this object."""
        return f"{self.path}.{name}" if self.path else name

    def raw(self, name: str) -> Any:
        """The value as it stands, None when absent."""
        key = name if name in self._values else self._names.get(name.casefold())
        if key is None:
            return None
        self._taken.add(key)
        return self._values[key]

    def has(self, name: str) -> bool:
        """Whether the key is there and not null; takes nothing."""
        key = name if name in self._values else self._names.get(name.casefold())
        return key is not None and self._values[key] is not None

    def text(self, name: str, default: str = "") -> str:
        return self._typed(name, str, default)

    def flag(self, name: str) -> bool:
        return self._typed(name, bool, default=False)

    def optional_flag(self, name: str) -> bool | None:
        return self._typed(name, bool) if self.has(name) else None

    def number(self, name: str, default: int = 0) -> int:
        value = self.raw(name)
        if value is None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(name, "an integer", value)
        if not -(2**63) <= value < 2**63:
            raise InvalidArgumentError(f"{self.path_of(name)} is out of range: {value}")
        return value

    def count(self, name: str, default: int = 0) -> int:
        """An integer that may not be negative."""
        value = self.number(name, default)
        if value < 0:
            raise InvalidArgumentError(f"{self.path_of(name)} must not be negative: {value}")
        return value

    def ratio(self, name: str) -> float:
        value = self.raw(name)
        if value is None:
            return 0.0
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number", value)
        return float(value)

    def text_list(self, name: str) -> tuple[str, ...]:
        value = self._typed(name, list, [])
        if not all(isinstance(item, str) for item in value):
            raise self._wrong(name, "a list of strings", value)
        return tuple(value)

    def text_map(self, name: str) -> dict[str, str]:
        value = self._typed(name, dict, {})
        if not all(isinstance(item, str) for item in value.values()):
            raise self._wrong(name, "a map of strings", value)
        return dict(value)

    def child(self, name: str) -> "JsonFields | None":
        """An object below this one; None when absent or null."""
        value = self.raw(name)
        return None if value is None else JsonFields(value, self.path_of(name))

    def read(self, name: str, reader: "Callable[[JsonFields], T]") -> T | None:
        """``reader`` over the object below, which must take all of it; None when absent."""
        child = self.child(name)
        if child is None:
            return None
        result = reader(child)
        child.refuse_unknown()
        return result

    def read_all(self, name: str, reader: "Callable[[JsonFields], T]") -> tuple[T, ...]:
        """``reader`` over each object of a list."""
        results = []
        for index, value in enumerate(self._typed(name, list, [])):
            item = JsonFields(value, f"{self.path_of(name)}[{index}]")
            results.append(reader(item))
            item.refuse_unknown()
        return tuple(results)

    def choice(self, name: str, words: Mapping[str, E], default: E) -> E:
        """One of the words; empty or absent gives ``default``."""
        value = self.text(name)
        if not value:
            return default
        if value not in words:
            raise InvalidArgumentError(f"invalid {self.path_of(name)}: {value!r}; use one of {', '.join(words)}")
        return words[value]

    def constant(self, name: str, *accepted: Any) -> None:
        """Take a field whose value changes nothing; any other value is refused by name."""
        value = self.raw(name)
        if not is_zero(value) and value not in accepted:
            raise UnsupportedError(f"{self.path_of(name)} = {value!r} is not supported by Covey yet; remove it")

    def refuse_unknown(self) -> None:
        """Refuse what nobody took."""
        for key, value in self._values.items():
            if key not in self._taken and not is_zero(value):
                raise UnsupportedError(f"{self.path_of(key)} is not supported by Covey yet; remove it")

    def _typed(self, name: str, kind: type[T], default: T | None = None) -> T:
        value = self.raw(name)
        if value is None:
            return default if default is not None else kind()
        if not isinstance(value, kind):
            raise self._wrong(name, _NOUNS[kind], value)
        return value

    def _wrong(self, name: str, wanted: str, value: Any) -> InvalidArgumentError:
        return InvalidArgumentError(f"{self.path_of(name)} must be {wanted}, not {_kind(value)}")


_NOUNS: dict[type, str] = {str: "a string", bool: "a boolean", list: "a list", dict: "an object"}


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    return {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}.get(
        type(value), "null"
    )


def omit_empty(**values: Any) -> dict[str, Any]:
    """A JSON object without its empty fields, as Go's ``omitempty`` writes one. Empty objects stay: they are pointers there."""
    return {key: value for key, value in values.items() if value is not None and value not in ("", 0, False, [], ())}
