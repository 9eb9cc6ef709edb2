"""History of client operations: one ``Op`` per call, with times of one monotonic clock.

Invariant: an outcome claims no more than the client knows. If it is unknown whether a write took effect, the outcome is UNKNOWN, and the checker
may place the write at any time after its call, or nowhere. Every value is written only once in a history, so a value identifies its write.
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
    """There is no such object; a write had no effect."""
    EXISTS = "exists"
    """A create found the name in use and had no effect."""
    STALE = "stale"
    """An update named an outdated version and had no effect."""
    NOTHING = "nothing"
    """The call was refused before it read or wrote anything."""
    UNKNOWN = "unknown"


class Op(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call of one client. ``value`` is the value written or read. ``expected`` and ``version`` are the value and version on which an
    update is based; ``version`` of a read is the version read. Times are in nanoseconds. An UNKNOWN write never returns.
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
    message: str = ""
    """Error message."""

    @property
    def writes(self) -> bool:
        """Whether it is a write that took effect or may have."""
        return self.kind is not Kind.READ and self.outcome in (Outcome.DONE, Outcome.UNKNOWN)

    @property
    def open(self) -> bool:
        """Whether it may take effect at any time after its call."""
        return self.outcome is Outcome.UNKNOWN


def relevant(ops: Iterable[Op]) -> list[Op]:
    """Operations that constrain the order, in the order of their calls."""
    kept = [op for op in ops if op.writes or op.outcome not in (Outcome.UNKNOWN, Outcome.NOTHING)]
    return sorted(kept, key=lambda op: (op.called, op.id))


def by_key(ops: Iterable[Op]) -> dict[str, list[Op]]:
    """Split into one history per object. All objects are linearizable together exactly if each is by itself."""
    found: dict[str, list[Op]] = {}
    for op in relevant(ops):
        found.setdefault(op.key, []).append(op)
    return found


def save(ops: Iterable[Op], path: Path) -> None:
    """Write one operation per line."""
    path.write_bytes(b"".join(msgspec.json.encode(op) + b"\n" for op in ops))


def load(path: Path) -> list[Op]:
    return [msgspec.json.decode(line, type=Op) for line in path.read_bytes().splitlines()]
