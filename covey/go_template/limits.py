"""Bounds of a template, and its errors. Pure."""

import msgspec

from covey.errors import InvalidArgumentError

MAX_TOKENS = 50_000
"""Words, operators and texts of a template."""
MAX_DEPTH = 64
"""Blocks and parentheses inside one another, and the links of an ``else if`` chain."""


class Limits(msgspec.Struct, frozen=True):
    """``characters`` bounds the result and every value on the way to it, ``steps`` the actions and function calls of a rendering."""

    characters: int = 256 << 20
    steps: int = 10_000_000


DEFAULT_LIMITS = Limits()


def parsing_error(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"template parsing error: {message}")


def rendering_error(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"template: {message}")
