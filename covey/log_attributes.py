"""Attributes of a container's log: the labels, environment variables and tag that its options choose. Pure.

``docker logs --details`` shows them with each line; journald stores them as fields.
"""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote_plus

from covey.errors import InvalidArgumentError


def compile_pattern(text: str) -> re.Pattern[str] | None:
    """A regular expression of ``labels-regex`` or ``env-regex``; None for an empty one."""
    if not text:
        return None
    try:
        return re.compile(text)
    except re.error as error:
        raise InvalidArgumentError(f"error parsing regexp: {error}: `{text}`") from None


def log_attributes(
    options: Mapping[str, str], labels: Mapping[str, str], env: Iterable[str], tag: str
) -> dict[str, str]:
    """The chosen labels and variables by name, and the tag if the options set one."""
    variables = dict(entry.split("=", 1) for entry in env if "=" in entry)
    found = _chosen(labels, options.get("labels", ""), options.get("labels-regex", ""))
    found |= _chosen(variables, options.get("env", ""), options.get("env-regex", ""))
    if options.get("tag"):
        found["tag"] = tag
    return found


def details(attributes: Mapping[str, str]) -> str:
    """Attributes as clients print them before a line: sorted and encoded as in a query."""
    return ",".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in sorted(attributes.items()))


def _chosen(values: Mapping[str, str], names: str, pattern: str) -> dict[str, str]:
    expression = compile_pattern(pattern)
    listed = frozenset(names.split(",")) if names else frozenset()
    return {
        name: value
        for name, value in values.items()
        if name in listed or (expression is not None and expression.search(name))
    }
