"""The patterns of ``.dockerignore``. Pure.

A path is left out if the last pattern that matches it, or a directory above it, does not begin with ``!``.
"""

import itertools
import posixpath
import re
from collections.abc import Iterable

from covey.errors import InvalidArgumentError


class IgnorePatterns:
    """The patterns of one file, or of ``source``. Raises InvalidArgumentError for a malformed one."""

    def __init__(self, lines: Iterable[str], source: str = ".dockerignore") -> None:
        found: list[tuple[str, bool]] = []
        for number, line in enumerate(lines):
            text = (line.removeprefix("\ufeff") if number == 0 else line).strip()
            if not text or line.startswith("#"):
                continue
            excepts = text.startswith("!")
            pattern = posixpath.normpath(text.removeprefix("!").strip()).lstrip("/")
            if pattern not in {"", "."}:
                found.append((_expression(pattern, source), excepts))
        self._rules = _joined(found)

    @property
    def has_exceptions(self) -> bool:
        """Whether a file inside a directory that is left out may be kept."""
        return any(excepts for _, excepts in self._rules)

    def excludes(self, path: str) -> bool:
        """Whether a path, relative to the context and with ``/``, is left out."""
        parts = path.split("/")
        candidates = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
        excluded = False
        for pattern, excepts in self._rules:
            if excepts is excluded and any(pattern.fullmatch(each) for each in candidates):
                excluded = not excepts
        return excluded


def _joined(rules: list[tuple[str, bool]]) -> list[tuple[re.Pattern[str], bool]]:
    """The rules in their order; those beside one another that say the same are one expression."""
    groups = itertools.groupby(rules, key=lambda rule: rule[1])
    return [(re.compile("|".join(f"(?:{text})" for text, _ in group), re.DOTALL), excepts) for excepts, group in groups]


def _expression(pattern: str, source: str) -> str:
    """A regular expression with the meaning of Go's path patterns and of ``**``."""
    parts, at = list[str](), 0
    while at < len(pattern):
        letter = pattern[at]
        if pattern.startswith("**", at):
            at += 2
            if pattern.startswith("/", at):
                at += 1
                parts.append("(?:.*/)?")
            else:
                parts.append(".*")
            continue
        if letter == "[":
            end = pattern.find("]", at + 2)
            if end < 0:
                raise InvalidArgumentError(f"{source}: syntax error in pattern {pattern!r}: [ without ]")
            body = pattern[at + 1 : end]
            negated, body = body.startswith("^"), body.removeprefix("^")
            escaped = body.replace("\\", "\\\\").replace("[", "\\[")
            parts.append(f"[{'^' if negated else ''}{escaped}]")
            at = end
        elif letter == "\\" and at + 1 < len(pattern):
            at += 1
            parts.append(re.escape(pattern[at]))
        else:
            parts.append({"*": "[^/]*", "?": "[^/]"}.get(letter) or re.escape(letter))
        at += 1
    try:
        return re.compile("".join(parts), re.DOTALL).pattern
    except re.error as error:
        raise InvalidArgumentError(f"{source}: syntax error in pattern {pattern!r}: {error}") from None
