"""Changes and commits: what a watcher of the store receives.

Invariant: a commit is one whole transaction. Each object appears in it at most once, with its state before and after.
"""

from __future__ import annotations

import enum

import msgspec

from covey.objects import Author, Object


class Action(enum.IntEnum):
    """Kind of change. The numbers are part of the log's format."""

    CREATE = 0
    UPDATE = 1
    REMOVE = 2


class Change(msgspec.Struct, frozen=True):
    """A change of one object. ``before`` is None for CREATE, ``after`` is None for REMOVE."""

    action: Action
    before: Object | None
    after: Object | None

    @property
    def item(self) -> Object:
        """The object after the change, or the one that was removed."""
        item = self.after if self.after is not None else self.before
        if item is None:
            raise ValueError("a change needs an object before or after it")
        return item


class Commit(msgspec.Struct, frozen=True):
    """One committed transaction. ``version`` is its log index, and the ``meta.version`` of every object that it created or updated.
    ``author`` made it, as far as known.
    """

    version: int
    changes: tuple[Change, ...]
    timestamp_ns: int = 0
    author: Author = Author()
