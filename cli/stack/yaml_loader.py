"""YAML loader with Compose's rules: no duplicate keys, only ``true`` and ``false`` are booleans, dates and ``22:22`` are text. Pure."""

import re
from typing import Any

import yaml

from covey.errors import InvalidArgumentError, TooLargeError

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
MAX_DEPTH = 64

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """YAML 1.1 with fewer implicit types: no ``yes`` and ``no``, no sexagesimal numbers, no dates."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0b[01]+|0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", "-+0123456789."),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), [*_first, ""] if _tag == "null" else list(_first)
    )


def _integer(loader: Any, node: Any) -> int:
    text: str = loader.construct_scalar(node)
    digits = text.lstrip("+-")
    base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2], 8 if digits.startswith("0") and digits != "0" else 10)
    return int(digits[2:] if digits[:2] in ("0b", "0o", "0x") else digits, base) * (-1 if text.startswith("-") else 1)


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key, _ in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            continue
        name = loader.construct_object(key, deep=True)
        if not isinstance(name, str | int | float | bool):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key.start_mark)
        if name in seen:
            raise yaml.constructor.ConstructorError(None, None, f"duplicate key {name!r}", key.start_mark)
        seen.add(name)
    loader.flatten_mapping(node)
    return {
        loader.construct_object(key, deep=True): loader.construct_object(value, deep=True) for key, value in node.value
    }


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def load_yaml(text: str, name: str) -> dict[str, Any]:
    """The content of a file; ``name`` is its name in errors.

    Raises:
        InvalidArgumentError: not YAML, a duplicate key, or the top level is not a mapping.
        TooLargeError: larger than the limits.
    """
    if len(text) > MAX_BYTES:
        raise TooLargeError(f"{name} is larger than {MAX_BYTES >> 20} MiB")
    try:
        content = yaml.load(text, _Loader)  # noqa: S506 — a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        where = error.problem_mark
        line = f"{name}:{where.line + 1}:{where.column + 1}" if where else name
        raise InvalidArgumentError(f"{line}: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{name} is not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        raise InvalidArgumentError(f"{name} is empty")
    if not isinstance(content, dict):
        raise InvalidArgumentError(f"{name}: the top level must be a mapping with services")
    _check_size(content, name)
    return content


def _check_size(content: Any, name: str) -> None:
    """Count all values, because anchors can expand a small file to a huge or infinite one."""
    count, waiting = 0, [(content, 0)]
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise TooLargeError(f"{name} holds more than {MAX_NODES} values or is nested deeper than {MAX_DEPTH}")
        if isinstance(value, dict):
            waiting += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list):
            waiting += [(item, depth + 1) for item in value]
