"""Sequential specification of one object of the store. Pure.

An object is absent, or has a value and a version. Versions grow with every write, also across removals. An update names the version on which
it is based and has no effect if the object has another one. Versions are known only where a read returned them, so a state has the
highest version known so far, and ``Model`` is built from all reads of the history.
"""

from collections.abc import Iterable
from typing import NamedTuple

from tests.linear.history import Kind, Op, Outcome


class State(NamedTuple):
    value: str | None = None
    floor: int = 0


class Model:
    """Specification of one key, with the versions that its history's reads returned."""

    def __init__(self, ops: Iterable[Op] = ()) -> None:
        self._versions: dict[str, int] = {}
        self.contradiction: tuple[Op, Op] | None = None
        """Two reads that no order explains: the same value at two versions, or two values at the same version."""
        seen_value: dict[str, Op] = {}
        seen_version: dict[int, Op] = {}
        for op in ops:
            if op.outcome is not Outcome.FOUND or not op.version:
                continue
            one = seen_value.setdefault(op.value, op)
            other = seen_version.setdefault(op.version, op)
            if one.version != op.version or other.value != op.value:
                self.contradiction = (one if one.version != op.version else other, op)
            self._versions[op.value] = op.version

    def step(self, state: State, op: Op) -> State | None:
        """State after the operation, or None if its outcome is impossible in this state. An UNKNOWN write is taken to have effect."""
        match op.outcome:
            case Outcome.FOUND:
                return state if state.value == op.value else None
            case Outcome.ABSENT:
                return state if state.value is None else None
            case Outcome.EXISTS:
                return state if state.value is not None else None
            case Outcome.STALE:
                return state if state.value is not None and state.value != op.expected else None
        match op.kind:
            case Kind.CREATE:
                return self._written(state, op) if state.value is None else None
            case Kind.UPDATE:
                return self._written(state, op) if state.value == op.expected else None
            case _:
                return State(None, state.floor) if state.value is not None else None

    def _written(self, state: State, op: Op) -> State | None:
        version = self._versions.get(op.value, 0)
        if version and version <= state.floor:
            return None
        return State(op.value, version or state.floor)
