"""Linearizability checker: searches an order of the operations that one object could have executed, each between its call and its return.

The search is that of Wing and Gong ("Testing and verifying concurrent objects", 1993) with two improvements: one history per key
(P-compositionality, Horn and Kroening 2015), and Lowe's just-in-time linearization ("Testing for linearizability", 2017). It walks the calls
and returns in time order and keeps every *configuration* (state, placed operations that have not returned) that explains the returns so far.
An operation is placed only when its return demands it. Equal configurations are merged.

Further cuts keep every explanation: an operation that does not change the state is placed as soon as possible; of two configurations that
differ only in the UNKNOWN writes they have used, the one that used fewer stands for both; values that no read returned are one value; of
UNKNOWN writes with the same effect, the one called first is used first.

Invariant: "ok" and "violation" are proofs. A search that exceeds the budget is "undecided", never "ok".
"""

import time
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from tests.linear.history import Kind, Op, Outcome, by_key, relevant
from tests.linear.model import Model, State

Configuration = tuple[State, int]
UNSEEN = "a value that no operation refers to"


class Answer(StrEnum):
    OK = "ok"
    VIOLATION = "violation"
    UNDECIDED = "undecided"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """``at`` is the operation whose return no order explains; ``states`` are the possible states of the object just before it."""

    answer: Answer
    key: str = ""
    at: Op | None = None
    states: tuple[str, ...] = ()
    against: Op | None = None
    explored: int = 0


class Budget(msgspec.Struct, frozen=True):
    """Bounds for one key."""

    configurations: int = 400_000
    seconds: float = 20.0


class _SpentError(Exception):
    pass


class _Search:
    """Search of one key's history. Operations are bits of a configuration's mask and of ``_pending``."""

    def __init__(self, ops: Sequence[Op], model: Model, budget: Budget) -> None:
        self._original_ops = ops
        self._ops = _with_unseen_as_one(ops)
        self._model = model
        self._budget = budget
        self._deadline = time.monotonic() + budget.seconds
        self._pending: list[int] = []
        self._open = 0
        self.explored = 0

    def run(self) -> Verdict:
        configurations: set[Configuration] = {(State(), 0)}
        for _, returns, number in self._events():
            if not returns:
                self._pending.append(number)
                self._open |= self._ops[number].open << number
                continue
            found = self._explaining(configurations, number)
            self._pending.remove(number)
            if not found:
                states = tuple(sorted({state.value or "absent" for state, _ in configurations}))
                at = self._original_ops[number]
                return Verdict(answer=Answer.VIOLATION, key=at.key, at=at, states=states, explored=self.explored)
            configurations = self._smallest(found)
        return Verdict(answer=Answer.OK, explored=self.explored)

    def _events(self) -> list[tuple[int, bool, int]]:
        """Calls and returns in time order. A return and a call at the same moment overlap: the call comes first."""
        calls = [(op.called, False, number) for number, op in enumerate(self._ops)]
        returns = [(op.returned, True, number) for number, op in enumerate(self._ops) if not op.open]
        return sorted([*calls, *returns])

    def _explaining(self, configurations: Iterable[Configuration], demanded: int) -> set[Configuration]:
        """Every configuration in which the demanded operation is placed, with its bit removed."""
        bit = 1 << demanded
        found: set[Configuration] = set()
        stack = [self._with_idle(configuration) for configuration in configurations]
        seen = set(stack)
        while stack:
            state, mask = stack.pop()
            if mask & bit:
                found.add((state, mask & ~bit))
                continue
            used_effects: set[tuple[Kind, str, str]] = set()
            for number in self._pending:
                op = self._ops[number]
                effect = (op.kind, op.value, op.expected)
                if mask >> number & 1 or (op.open and effect in used_effects):
                    continue
                if op.open:
                    used_effects.add(effect)
                after = self._model.step(state, op)
                if after is None or after == state:
                    continue
                reached = self._with_idle((after, mask | 1 << number))
                if reached not in seen:
                    self._spend()
                    seen.add(reached)
                    stack.append(reached)
        return found

    def _with_idle(self, configuration: Configuration) -> Configuration:
        """Place every operation that is possible now and changes nothing. This never excludes an explanation."""
        state, mask = configuration
        for number in self._pending:
            op = self._ops[number]
            if not op.open and not mask >> number & 1 and self._model.step(state, op) == state:
                mask |= 1 << number
        return state, mask

    def _smallest(self, configurations: set[Configuration]) -> set[Configuration]:
        groups: dict[tuple[State, int], list[int]] = {}
        for state, mask in sorted(configurations, key=lambda one: (one[1] & self._open).bit_count()):
            used = mask & self._open
            group = groups.setdefault((state, mask & ~self._open), [])
            if not any(less & used == less for less in group):
                group.append(used)
        return {(state, placed | used) for (state, placed), group in groups.items() for used in group}

    def _spend(self) -> None:
        self.explored += 1
        over = self.explored > self._budget.configurations
        if over or (self.explored % 256 == 0 and time.monotonic() > self._deadline):
            raise _SpentError


def _with_unseen_as_one(ops: Sequence[Op]) -> list[Op]:
    """Replace all values that no operation refers to by one value."""
    named = {op.value for op in ops if op.outcome is Outcome.FOUND} | {op.expected for op in ops}
    return [op if op.value in named else msgspec.structs.replace(op, value=UNSEEN) for op in ops]


def check_key(ops: Iterable[Op], budget: Budget | None = None) -> Verdict:
    """Check one key's history."""
    known = relevant(ops)
    model = Model(known)
    if model.contradiction is not None:
        against, at = model.contradiction
        return Verdict(answer=Answer.VIOLATION, key=at.key, at=at, against=against)
    search = _Search(known, model, budget or Budget())
    try:
        return search.run()
    except _SpentError:
        return Verdict(answer=Answer.UNDECIDED, key=known[0].key, explored=search.explored)


def check(ops: Iterable[Op], budget: Budget | None = None) -> list[Verdict]:
    """Check each key's history; violations come first."""
    rank = (Answer.VIOLATION, Answer.UNDECIDED, Answer.OK)
    verdicts = [msgspec.structs.replace(check_key(part, budget), key=key) for key, part in by_key(ops).items()]
    return sorted(verdicts, key=lambda verdict: rank.index(verdict.answer))
