"""The placeholders of a service's hostname, environment and mounts: ``{{.Service.Name}}``, ``{{.Task.Slot}}`` and their like. Pure.

Law: managers ``check`` what a user writes with the same table by which agents ``fill`` it, so nothing is accepted that cannot be filled.
"""

import re
from collections.abc import Mapping

from covey.errors import InvalidArgumentError

KNOWN = (
    ".Service.ID",
    ".Service.Name",
    ".Node.ID",
    ".Node.Hostname",
    ".Node.Platform.OS",
    ".Node.Platform.Architecture",
    ".Task.ID",
    ".Task.Name",
    ".Task.Slot",
)
_PLACEHOLDER = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")
_INDEX = re.compile(r'index\s+\.(Service|Node)\.Labels\s+"([^"]*)"')
_LABEL = re.compile(r"\.(Service|Node)\.Labels\.(.+)")


def check(text: str) -> None:
    """Refuse a text with a placeholder that nobody could fill.

    Raises:
        InvalidArgumentError: names it and the ones that are known.
    """
    for match in _PLACEHOLDER.finditer(text):
        if match[1] not in KNOWN and not _label(match[1]):
            raise InvalidArgumentError(f'the placeholder "{match[0]}" is unknown; known are {", ".join(KNOWN)}')


def fill(text: str, values: Mapping[str, str], labels: Mapping[str, Mapping[str, str]]) -> str:
    """The text with every placeholder filled: ``values`` by the names in KNOWN, ``labels`` of "Service" and "Node".

    Raises:
        InvalidArgumentError: names a placeholder that is unknown.
    """
    check(text)

    def value(match: re.Match[str]) -> str:
        label = _label(match[1])
        return labels[label[1]].get(label[2], "") if label else values[match[1]]

    return _PLACEHOLDER.sub(value, text)


def _label(key: str) -> re.Match[str] | None:
    return _INDEX.fullmatch(key) or _LABEL.fullmatch(key)
