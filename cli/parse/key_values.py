"""Parsers of ``KEY=VALUE`` pairs, comma-separated fields and booleans in flags. Pure."""

import csv
from collections.abc import Iterable, Mapping

from covey.errors import InvalidArgumentError


def parse_key_values(items: Iterable[str]) -> dict[str, str]:
    """A mapping from ``KEY=VALUE`` texts; a key without a value maps to an empty text.

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
    """The fields of ``a=1,b=2``; a field without a value is "true".

    Args:
        text: the flag's text.
        flag: the flag's name, for messages.
        known: the canonical name of each field by the names that are accepted.
        bare: the field that a text without "=" is the value of; empty if there is none.

    Raises:
        InvalidArgumentError: an unknown field.
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
    """A boolean as Go parses it; ``what`` names the field in the error.

    Raises:
        InvalidArgumentError: not a boolean.
    """
    lowered = text.lower()
    if lowered in ("1", "t", "true"):
        return True
    if lowered in ("0", "f", "false"):
        return False
    raise InvalidArgumentError(f"{what} must be true or false, not {text!r}")
