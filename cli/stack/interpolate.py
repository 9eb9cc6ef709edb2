"""Variable interpolation in Compose files: ``$VAR``, ``${VAR:-default}``, ``${VAR:?message}``, ``${VAR:+other}``, ``$$``. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from covey.errors import InvalidArgumentError

_START = re.compile(r"\$(?:(?P<escaped>\$)|(?P<name>[A-Za-z_]\w*)|(?P<brace>\{)|(?P<bad>))")
_BRACED = re.compile(r"(?P<name>[A-Za-z_]\w*)(?P<operator>:?[-?+])?")


def interpolate(value: Any, environment: Mapping[str, str], path: str = "") -> Any:
    """Interpolate all text values of a mapping or list, but not keys.

    Raises:
        InvalidArgumentError: invalid syntax, or a required variable is not set; the message has the path.
    """
    if isinstance(value, str):
        return substitute(value, environment, path) if "$" in value else value
    if isinstance(value, dict):
        return {
            key: interpolate(item, environment, f"{path}.{key}" if path else str(key)) for key, item in value.items()
        }
    if isinstance(value, list):
        return [interpolate(item, environment, f"{path}[{index}]") for index, item in enumerate(value)]
    return value


def substitute(text: str, environment: Mapping[str, str], path: str = "") -> str:
    """Interpolate one text; an unset variable is empty."""
    result, at = [], 0
    while (match := _START.search(text, at)) is not None:
        result.append(text[at : match.start()])
        at = match.end()
        if match["escaped"]:
            result.append("$")
        elif match["name"]:
            result.append(environment.get(match["name"], ""))
        elif match["brace"]:
            end = _closing_brace(text, at)
            if end < 0:
                raise _error(text, path)
            result.append(_braced(text[at:end], text, environment, path))
            at = end + 1
        else:
            raise _error(text, path)
    return "".join(result) + text[at:]


def _braced(inner: str, text: str, environment: Mapping[str, str], path: str) -> str:
    match = _BRACED.match(inner)
    if match is None or (match["operator"] is None and match.end() != len(inner)):
        raise _error(text, path)
    name, operator, word = match["name"], match["operator"] or "", inner[match.end() :]
    value = environment.get(name)
    present = bool(value) if operator.startswith(":") else value is not None
    if operator.endswith("-"):
        return (value or "") if present else substitute(word, environment, path)
    if operator.endswith("+"):
        return substitute(word, environment, path) if present else ""
    if operator.endswith("?") and not present:
        reason = substitute(word, environment, path) or "it is not set"
        raise InvalidArgumentError(f"{path}: the variable {name} is required: {reason}")
    return value or ""


def _closing_brace(text: str, at: int) -> int:
    depth = 1
    for index in range(at, len(text)):
        if text[index] == "}":
            depth -= 1
            if not depth:
                return index
        elif text[index] == "{" and text[index - 1] == "$":
            depth += 1
    return -1


def _error(text: str, path: str) -> InvalidArgumentError:
    return InvalidArgumentError(f'{path}: invalid interpolation format in "{text}"; write $$ for a literal dollar sign')
