"""YAML as the docker client and Docker Compose print it: two spaces, quotes only where they are needed, natural order of keys. Pure."""

import re
from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

import yaml

from compose.yaml_reader import scalar_value

_HUGE = 1e21
_MERGE_KEY = "<<"
_FOLD_COLUMN = 80
_LAST_PLAIN = 0xFFFF
"""Characters beyond the first plane are escaped by docker."""
_OLD_BOOLEANS = frozenset(
    word for base in ("y", "yes", "on", "n", "no", "off") for word in (base, base.capitalize(), base.upper())
)
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_CLOCK = r"\d{1,2}:\d{1,2}:\d{1,2}(?:\.\d+)?"
_TIMESTAMP = re.compile(rf"\d{{4}}-\d{{1,2}}-\d{{1,2}}(?:[Tt]{_CLOCK}(?:Z|[+-]\d\d:\d\d)| {_CLOCK})?")


class _Dumper(yaml.SafeDumper):
    """Every scalar is a text without resolvers: ``_needs_quotes`` alone decides about quotes."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def choose_scalar_style(self) -> Any:
        """Texts of several lines that cannot be written as a block are in double quotes."""
        style = super().choose_scalar_style()
        return '"' if getattr(self.event, "style", None) == "|" and style != "|" else style


class _ComposeDumper(_Dumper):
    """The dumper of Docker Compose: what only YAML 1.1 reads as another type is in single quotes."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=_style(text, '"'))


def _compose_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "'" if text == _MERGE_KEY else _style(text, "'")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _style(text: str, old_types: str) -> str | None:
    """How a text is written; None is plain. ``old_types`` are the quotes of what YAML 1.1 alone reads as another type."""
    if any(ord(character) > _LAST_PLAIN for character in text):
        return '"'
    if "\n" in text:
        return "|"
    if not isinstance(scalar_value(text), str) or _TIMESTAMP.fullmatch(text):
        return '"'
    return old_types if text in _OLD_BOOLEANS or _BASE_60.fullmatch(text) else None


def go_float(value: float) -> str:
    """A number as Go prints it: the shortest digits, without ``.0``."""
    return str(int(value)) if value == int(value) and abs(value) < _HUGE else repr(value)


_Dumper.add_representer(str, _text)
_ComposeDumper.add_representer(str, _compose_text)
_WRITERS: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "null",
    bool: lambda value: str(value).lower(),
    int: str,
    float: go_float,
}


def _other_scalar(dumper: yaml.SafeDumper, value: Any) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", _WRITERS[type(value)](value))


for _type in _WRITERS:
    _Dumper.add_representer(_type, _other_scalar)
    _ComposeDumper.add_representer(_type, _other_scalar)


def write_yaml(value: Any) -> str:
    """The text of plain values as the docker client writes it, keys in their order."""
    return _dump(value, _Dumper, float("inf"))


def write_compose_yaml(value: Any) -> str:
    """The text of plain values as Docker Compose writes it, keys in their order."""
    return _dump(value, _ComposeDumper, _FOLD_COLUMN)


def _dump(value: Any, dumper: type[_Dumper], width: float) -> str:
    return yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True, width=width, default_flow_style=False)


def natural_order(keys: Any) -> list[str]:
    """Keys as the docker client sorts them: numbers within them by their value, letters after other characters."""
    return sorted(keys, key=cmp_to_key(_compare))


def _compare(a: str, b: str) -> int:
    return -1 if _is_less(a, b) else int(a != b)


def _is_less(a: str, b: str) -> bool:
    after_digit = False
    for index, (left, right) in enumerate(zip(a, b, strict=False)):
        if left == right:
            after_digit = left.isdigit()
            continue
        if left.isalpha() and right.isalpha():
            return left < right
        if left.isalpha() or right.isalpha():
            return left.isalpha() if after_digit else right.isalpha()
        return _is_number_less(a, b, index)
    return len(a) < len(b)


def _is_number_less(a: str, b: str, index: int) -> bool:
    left, right = (re.match(r"\d*", text[index:]) for text in (a, b))
    left_digits, right_digits = left[0] if left else "", right[0] if right else ""
    leading = 0
    if "0" in (a[index], b[index]):
        before = re.search(r"\d*$", a[:index])
        leading = 1 if before and before[0].strip("0") else 0
    left_number, right_number = (int(f"{leading}{digits}") for digits in (left_digits, right_digits))
    if left_number != right_number:
        return left_number < right_number
    if len(left_digits) != len(right_digits):
        return len(left_digits) < len(right_digits)
    return a[index] < b[index]
