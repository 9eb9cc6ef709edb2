"""Typed access to a mapping of a Compose file, with the key's path in every error. Pure.

Invariant: each reader of a section ends with ``reject_unread``, which refuses the keys that were not read. Keys that begin with ``x-``
are extensions and are ignored.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from covey.errors import InvalidArgumentError, UnsupportedError
from covey.quantities import parse_bytes, parse_duration

T = TypeVar("T")


class Section:
    """A mapping at a path such as ``services.web.deploy``."""

    def __init__(self, value: Any, path: str) -> None:
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise InvalidArgumentError(f"{path} must be a mapping")
        self._items: Mapping[Any, Any] = value
        self._read: set[str] = set()
        self.path = path

    def key_path(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def has(self, key: str) -> bool:
        return self._items.get(key) is not None

    def keys(self) -> list[str]:
        return [str(key) for key in self._items]

    def raw(self, key: str) -> Any:
        self._read.add(key)
        return self._items.get(key)

    def reject_unread(self, hints: Mapping[str, str] | None = None) -> None:
        """Refuse the keys that were not read.

        Args:
            hints: the alternative to a key, by key.
        """
        for key in self._items:
            if key in self._read or str(key).startswith("x-"):
                continue
            hint = (hints or {}).get(str(key), "remove it")
            raise UnsupportedError(f"{self.key_path(str(key))} is not supported by stack deploy: {hint}")

    def text(self, key: str, default: str = "") -> str:
        """A text; a number is converted to its decimal form."""
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InvalidArgumentError(f"{self.key_path(key)} must be a text")
        return str(value)

    def choice(self, key: str, allowed: tuple[str, ...], default: str = "") -> str:
        value = self.text(key, default)
        if value and value not in allowed:
            raise InvalidArgumentError(f"{self.key_path(key)} must be one of {', '.join(allowed)}, not {value!r}")
        return value

    def boolean(self, key: str) -> bool | None:
        value = self.raw(key)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise InvalidArgumentError(f"{self.key_path(key)} must be true or false")

    def integer(self, key: str) -> int | None:
        value = self.raw(key)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        if isinstance(value, str):
            try:
                return int(value, 8 if value.startswith("0") and value.isdecimal() and value != "0" else 10)
            except ValueError:
                pass
        raise InvalidArgumentError(f"{self.key_path(key)} must be a whole number")

    def decimal(self, key: str) -> float | None:
        value = self.raw(key)
        try:
            return None if value is None else float(value)
        except (TypeError, ValueError):
            raise InvalidArgumentError(f"{self.key_path(key)} must be a number") from None

    def duration(self, key: str) -> int | None:
        """Nanoseconds."""
        return self._parsed(key, parse_duration)

    def size(self, key: str) -> int | None:
        """Bytes."""
        return self._parsed(key, parse_bytes)

    def text_list(self, key: str, *, one: bool = False) -> list[str]:
        """A list of texts; with ``one`` a single text counts as a list."""
        value = self.raw(key)
        if value is None:
            return []
        if one and isinstance(value, str):
            return [value]
        if not isinstance(value, list) or any(
            isinstance(v, bool) or not isinstance(v, str | int | float) for v in value
        ):
            raise InvalidArgumentError(f"{self.key_path(key)} must be a list of texts")
        return [str(item) for item in value]

    def text_map(self, key: str) -> dict[str, str]:
        """A mapping of texts, or a list of ``KEY=VALUE``; a missing value is empty."""
        return {name: value or "" for name, value in self.optional_text_map(key).items()}

    def optional_text_map(self, key: str) -> dict[str, str | None]:
        """Like ``text_map``, but a missing value is None."""
        value = self.raw(key)
        if isinstance(value, list):
            result: dict[str, str | None] = {}
            for item in self.text_list(key):
                name, separator, rest = item.partition("=")
                result[name] = rest if separator else None
            return result
        section = Section(value, self.key_path(key))
        for name in section.keys():  # noqa: SIM118 — not a dict
            if isinstance(section.raw(name), bool):
                raise InvalidArgumentError(f"{section.key_path(name)} is a boolean; put it in quotes to mean the text")
        return {name: section.text(name) if section.has(name) else None for name in section.keys()}  # noqa: SIM118

    def section(self, key: str) -> "Section":
        return Section(self.raw(key), self.key_path(key))

    def sections(self, key: str, short: Callable[[str, str], dict[str, Any]]) -> list["Section"]:
        """A list of mappings; ``short(text, path)`` expands a text to a mapping."""
        value = self.raw(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise InvalidArgumentError(f"{self.key_path(key)} must be a list")
        return [
            Section(
                short(item, f"{self.key_path(key)}[{index}]") if isinstance(item, str) else item,
                f"{self.key_path(key)}[{index}]",
            )
            for index, item in enumerate(value)
        ]

    def _parsed(self, key: str, parse: Callable[[str], T]) -> T | None:
        if not self.has(key):
            return self.raw(key) and None
        try:
            return parse(self.text(key))
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{self.key_path(key)}: {error.message}") from error
