"""Author of the changes that a task of the event loop makes: set where a call or a control loop begins, read where the store proposes.

Invariant: each asyncio task has its own author, which ends with it. Nothing decides by it: it is written into the log for histories.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from covey.objects import Author

_AUTHOR: ContextVar[Author] = ContextVar("author")
_UNKNOWN = Author()


def current_author() -> Author:
    """The author of changes that are made now; an empty one if nobody has said."""
    return _AUTHOR.get(_UNKNOWN)


@contextmanager
def acting_as(author: Author) -> Iterator[None]:
    """Changes within the block are the author's."""
    token = _AUTHOR.set(author)
    try:
        yield
    finally:
        _AUTHOR.reset(token)
