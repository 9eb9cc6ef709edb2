"""Values of templates: fields, truth and text as Go has them. Pure."""

from collections.abc import Mapping
from typing import Any

from covey.go_template.limits import rendering_error

ABSENT = object()
"""The value of a missing key."""


class GoStruct(dict[str, Any]):
    """A value whose fields are known: any other field is an error, where a missing key of a map is no value."""


def walk(value: Any, path: tuple[str, ...], *, strict: bool) -> Any:
    """The value at a path. ``strict`` refuses missing keys (Go's ``missingkey=error``)."""
    for place, name in enumerate(path):
        if isinstance(value, GoStruct) and name not in value:
            raise rendering_error(
                f"can't evaluate field {name} in .{'.'.join((*path[:place], name))}: the fields are {', '.join(value)}"
            )
        if isinstance(value, Mapping):
            found = value.get(name, ABSENT)
            if found is ABSENT and strict:
                raise rendering_error(f'map has no entry for key "{name}" (.{".".join(path)})')
            value = found
        elif value is None or value is ABSENT:
            return ABSENT
        else:
            raise rendering_error(
                f"can't evaluate field {name} in .{'.'.join(path)}: the value before it is {type_name(value)}"
            )
    return value


def type_name(value: Any) -> str:
    """The type as Go names it."""
    if isinstance(value, bool):
        return "bool"
    names = {str: "string", int: "int", float: "float64", list: "slice", tuple: "slice"}
    return "map" if isinstance(value, Mapping) else names.get(type(value), "nil")


def go_text(value: Any) -> str:
    """A value as Go prints it."""
    if value is ABSENT:
        return "<no value>"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, GoStruct):
        return f"{{{' '.join(go_text(item) for item in value.values())}}}"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{go_text(item)}' for key, item in sorted(value.items()))}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(go_text(item) for item in value)}]"
    return str(value)
