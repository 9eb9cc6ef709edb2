"""A violation as a person reads it: the fewest operations that contradict each other, as a table in the order of their calls. Pure."""

from collections.abc import Iterable, Sequence

from tests.linear.checker import Answer, Verdict, check_key
from tests.linear.history import Op, Outcome, telling

MANY = 24


def smallest(ops: Iterable[Op]) -> list[Op]:
    """A part of the history that is contradictory by itself: nothing after the contradiction, and no observation that can be spared.
    Writes stay, for taking one out would make a new contradiction; those that nobody has to know of are left to ``window``.
    """
    kept = telling(ops)
    verdict = check_key(kept)
    if verdict.answer is not Answer.VIOLATION or verdict.at is None:
        return kept
    end = verdict.at.returned
    kept = [op for op in kept if op.called <= end and (op.writes or op.returned <= end)]
    for op in reversed([op for op in kept if not op.writes and op != verdict.at]):
        without = [other for other in kept if other != op]
        if check_key(without).answer is Answer.VIOLATION:
            kept = without
    return kept


def window(ops: Sequence[Op], at: Op) -> list[Op]:
    """What stood around the contradiction: all that overlaps it, the writes that it names, and the last ones before."""
    values = {value for op in (at, *ops[-MANY:]) for value in (op.value, op.expected) if value}
    near = [
        op for op in ops if op.open or op.returned >= at.called or not op.writes or op.value in values or not op.value
    ]
    return near[-MANY:]


def table(ops: Iterable[Op]) -> str:
    """Times in milliseconds since the first call."""
    rows = sorted(ops, key=lambda op: op.called)
    if not rows:
        return ""
    start = rows[0].called
    lines = [f"{'called':>9} {'returned':>9}  {'client':<14}what"]
    for op in rows:
        returned = "?" if op.open else f"{(op.returned - start) / 1e6:.1f}"
        lines.append(f"{(op.called - start) / 1e6:>9.1f} {returned:>9}  {op.client:<14}{_words(op)}")
    return "\n".join(lines)


def explain(verdict: Verdict, ops: Iterable[Op]) -> str:
    """The whole report on one key."""
    mine = [op for op in ops if op.key == verdict.key]
    if verdict.answer is not Answer.VIOLATION or verdict.at is None:
        return f"{verdict.key}: {verdict.answer} after {verdict.explored} configurations"
    if verdict.against is not None:
        return f"{verdict.key}: two reads contradict each other\n{table([verdict.against, verdict.at])}"
    few = smallest(mine)
    head = f"{verdict.key}: nothing explains operation {verdict.at.id}; before it the object was {' or '.join(verdict.states)}"
    return f"{head}\n{table(window(few, verdict.at))}"


def _words(op: Op) -> str:
    version = f" v{op.version}" if op.version else ""
    made_from = f" from {op.expected}" if op.expected else ""
    said = f": {op.said[:60]}" if op.said else ""
    if op.outcome is Outcome.FOUND:
        return f"{op.id:>4} read {op.value}{version}"
    return f"{op.id:>4} {op.kind} {op.value}{made_from}{version} -> {op.outcome}{said}"
