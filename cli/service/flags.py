"""The small languages within flags: ``KEY=VALUE``, comma-separated fields, sizes and spans. Pure."""

import csv
from collections.abc import Iterable, Mapping

from covey.errors import InvalidArgumentError


def parse_key_values(items: Iterable[str]) -> dict[str, str]:
    """``KEY=VALUE`` each; a key alone has an empty value.

    Raises:
        InvalidArgumentError: a key is empty.
    """
    result = {}
    for item in items:
        key, _, value = item.partition("=")
        if not key:
            raise InvalidArgumentError(f"invalid label {item!r}: write KEY=VALUE")
        result[key] = value
    return result


def parse_fields(text: str, flag: str, known: Mapping[str, str], *, bare: str = "") -> dict[str, str]:
    """``a=1,b=2`` by the names in ``known`` (each maps to its canonical name).

    ``bare`` is the field that a text without any "=" stands for; empty when there is none.

    Raises:
        InvalidArgumentError: an unknown field, or one without a value.
    """
    parts = next(csv.reader([text]), [])
    if bare and len(parts) == 1 and "=" not in text:
        return {bare: text}
    result = {}
    for part in parts:
        name, separator, value = part.partition("=")
        key = known.get(name.strip().lower())
        if key is None:
            raise InvalidArgumentError(f"--{flag} {text}: unknown field {name!r}; use {', '.join(sorted(known))}")
        if not separator:
            value = "true"
        result[key] = value
    return result


def parse_bool(text: str, what: str) -> bool:
    """A true or false of a field."""
    lowered = text.lower()
    if lowered in ("1", "t", "true"):
        return True
    if lowered in ("0", "f", "false"):
        return False
    raise InvalidArgumentError(f"{what} must be true or false, not {text!r}")
