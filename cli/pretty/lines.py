"""Lines of ``inspect --pretty``: keys with values in columns, headings and labels. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

Line = tuple[int, str, Any] | str
"""Indentation, key and value, or a literal line. An entry without a value is left out; a key ending with a colon is a heading."""


def text(items: Iterable[Line]) -> str:
    """The text of all lines."""
    return "".join(map(_line, items)).expandtabs(8)


def _line(line: Line) -> str:
    if isinstance(line, str):
        return f"{line}\n"
    depth, key, value = line
    if key.endswith(":"):
        return f"{' ' * depth}{key}\n"
    return "" if value in (None, "", [], {}) else f"{' ' * depth}{key}:\t{value}\n"


def label_lines(labels: Mapping[str, str] | None, mark: str = "- ", title: str = "Labels:") -> list[Line]:
    """Lines of labels; the value of a label may be empty."""
    if not labels:
        return []
    return [title, *(f" {mark}{key}{f'={value}' if value else ''}" for key, value in sorted(labels.items()))]
