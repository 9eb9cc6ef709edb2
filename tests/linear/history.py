"""What clients did and saw: one ``Op`` for each call, with its times on one monotonic clock.

Law: an outcome says no more than the client knows. Whoever cannot tell whether a write was done says UNKNOWN, and the checker may then
place it at any time after its call, or nowhere. Every written value is written once in a history, so a value names its write.
"""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import msgspec


class Kind(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    REMOVE = "remove"
    READ = "read"


class Outcome(StrEnum):
    DONE = "done"
    """The write was acknowledged."""
    FOUND = "found"
    """The read saw ``value`` at ``version``."""
    ABSENT = "absent"
    """There is no such object; a write did nothing then."""
    EXISTS = "exists"
    """A create found the name taken and did nothing."""
    STALE = "stale"
    """An update found another version than the one that it was made from, and did nothing."""
    NOTHING = "nothing"
    """Refused before anything was looked at: certainly not done, and nothing was seen."""
    UNKNOWN = "unknown"


class Op(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call of one client. ``value`` is what was written or read; ``expected`` and ``version`` are those an update was made from,
    ``version`` of a read is the one that it saw. Times in nanoseconds; ``returned`` of an UNKNOWN write counts as never.
    """

    id: int
    client: str
    key: str
    kind: Kind
    outcome: Outcome
    called: int
    returned: int
    value: str = ""
    expected: str = ""
    version: int = 0
    said: str = ""
    """The words of a failure, for people."""

    @property
    def writes(self) -> bool:
        """Whether it changed something, or may have."""
        return self.kind is not Kind.READ and self.outcome in (Outcome.DONE, Outcome.UNKNOWN)

    @property
    def open(self) -> bool:
        """Whether it may take effect long after the client gave up."""
        return self.outcome is Outcome.UNKNOWN


def telling(ops: Iterable[Op]) -> list[Op]:
    """The operations that a checker can learn from, in the order of their calls."""
    kept = [op for op in ops if op.writes or op.outcome not in (Outcome.UNKNOWN, Outcome.NOTHING)]
    return sorted(kept, key=lambda op: (op.called, op.id))


def by_key(ops: Iterable[Op]) -> dict[str, list[Op]]:
    """One history for each object: objects are linearizable together exactly if each is by itself."""
    found: dict[str, list[Op]] = {}
    for op in telling(ops):
        found.setdefault(op.key, []).append(op)
    return found


def save(ops: Iterable[Op], path: Path) -> None:
    """One operation a line."""
    path.write_bytes(b"".join(msgspec.json.encode(op) + b"\n" for op in ops))


def load(path: Path) -> list[Op]:
    return [msgspec.json.decode(line, type=Op) for line in path.read_bytes().splitlines()]
