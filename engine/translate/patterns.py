"""Regular expressions of list filters: compiled if looking for them takes bounded time. Pure.

Docker's expressions take time linear in the text, Python's may take exponential time. So what an expression may cost is estimated from its
parts, and one that might hold up the daemon is refused.

Invariant: a search in a name of `_TEXT` characters tries at most `_MAX_WAYS` ways.
"""

from __future__ import annotations

import re
from functools import lru_cache
from re import _parser as parser  # type: ignore[attr-defined]  # the parser has no public name that is not deprecated
from typing import Any

from covey.errors import InvalidArgumentError

_MAX_LENGTH = 512
_TEXT = 256
_MAX_WAYS = 1 << 25
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})
_FOREIGN = frozenset({"GROUPREF", "GROUPREF_EXISTS", "ASSERT", "ASSERT_NOT", "ATOMIC_GROUP", "POSSESSIVE_REPEAT"})
"""What Docker's expressions do not have."""


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> re.Pattern[str] | None:
    """The expression, None if it is none.

    Raises:
        InvalidArgumentError: looking for it may take too long.
    """
    if len(text) > _MAX_LENGTH:
        raise InvalidArgumentError(f"invalid filter; a pattern may have {_MAX_LENGTH} characters, not {len(text)}")
    try:
        compiled, parsed = re.compile(text), parser.parse(text)
        ways = _ways(parsed) * _TEXT
    except (re.error, OverflowError, RecursionError, _ForeignError):
        return None
    if ways > _MAX_WAYS:
        raise InvalidArgumentError(
            f"invalid filter; the pattern {text!r} may take too long: use fewer repetitions, and none inside another"
        )
    return compiled


class _ForeignError(Exception):
    """The expression has a part that Docker's do not have."""


def _ways(sequence: Any) -> int:
    """In how many ways the parts of a sequence may match a text, at most."""
    total = 1
    for operation, argument in sequence:
        total = min(total * _ways_of(str(operation), argument), 2 * _MAX_WAYS)
    return total


def _ways_of(name: str, argument: Any) -> int:
    if name in _FOREIGN:
        raise _ForeignError
    if name in _REPEATS:
        least, most, content = argument
        most = min(int(most), _TEXT)
        inner = _ways(content)
        return (max(most - int(least), 0) + 1) * (min(inner, 2 * _MAX_WAYS) ** most if inner > 1 else 1)
    if name == "SUBPATTERN":
        return _ways(argument[-1])
    if name == "BRANCH":
        return sum(_ways(each) for each in argument[1])
    return 1
