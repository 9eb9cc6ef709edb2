"""Differences between two specs of a service, field by field, and whether its tasks restart for them. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

Values = Mapping[str, Any]
_IDENTITIES = ("Target", "SecretName", "ConfigName", "TargetPort", "Name")
"""Fields that name an item of a list, the first that all items have."""
_ABSENT = "(none)"
MAX_TEXT = 120


class FieldChange(msgspec.Struct, frozen=True):
    """A field with its value before and after; None where it is absent."""

    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.path}: {_text(self.old)} -> {_text(self.new)}"


def field_changes(old: Any, new: Any, path: str = "") -> list[FieldChange]:
    """The fields that differ, in the order of their paths."""
    if old == new:
        return []
    before, after = _fields(old, path), _fields(new, path)
    if before is None and after is None:
        return [FieldChange(path, old, new)]
    if (before is None and old is not None) or (after is None and new is not None):
        return [FieldChange(path, old, new)]
    before, after = before or {}, after or {}
    result = [
        change
        for key in sorted({*before, *after})
        for change in field_changes(before.get(key), after.get(key), f"{path}.{key}" if path else key)
    ]
    return result or [FieldChange(path, old, new)]


def restart_reason(changes: Sequence[FieldChange]) -> str:
    """Why the tasks of the service are replaced; empty if they go on running."""
    fields = sorted({_task_field(change.path) for change in changes if change.path.startswith("TaskTemplate.")})
    if any(change.path == "EndpointSpec.Mode" for change in changes):
        fields.append("EndpointSpec.Mode")
    return f"{', '.join(fields)} changed" if fields else ""


def _task_field(path: str) -> str:
    parts = path.split(".")
    return parts[2] if parts[1] == "ContainerSpec" and len(parts) > 2 else parts[1]


def _fields(value: Any, path: str) -> Values | None:
    """The parts of a value by name: of a mapping, of variables, of a list whose items have names."""
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, list) or not value:
        return None
    if path.endswith(".Env"):
        return {line.partition("=")[0]: line for line in value}
    if all(isinstance(item, Mapping) for item in value):
        key = next((name for name in _IDENTITIES if all(name in item for item in value)), None)
        named = {str(item[key]): item for item in value} if key else {}
        if len(named) == len(value):
            return named
    return None


def _text(value: Any) -> str:
    if value is None:
        return _ABSENT
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
