"""Report of a linearizability violation: a small set of contradicting operations as a table in call order. Pure."""

from collections.abc import Iterable, Sequence

from tests.linear.checker import Answer, Verdict, check_key
from tests.linear.history import Op, Outcome, relevant

MANY = 24


def minimal(ops: Iterable[Op]) -> list[Op]:
    """Part of the history that is contradictory by itself: without operations after the contradiction and without redundant reads.
    Writes are kept, because removing one makes a new contradiction; ``window`` drops the irrelevant ones.
    """
    kept = relevant(ops)
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
    """Operations around the contradiction: those that overlap it, the writes it refers to, and the last ones before it."""
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
        lines.append(f"{(op.called - start) / 1e6:>9.1f} {returned:>9}  {op.client:<14}{_describe(op)}")
    return "\n".join(lines)


def explain(verdict: Verdict, ops: Iterable[Op]) -> str:
    """Report of one key."""
    mine = [op for op in ops if op.key == verdict.key]
    if verdict.answer is not Answer.VIOLATION or verdict.at is None:
        return f"{verdict.key}: {verdict.answer} after {verdict.explored} configurations"
    if verdict.against is not None:
        return f"{verdict.key}: two reads contradict each other\n{table([verdict.against, verdict.at])}"
    few = minimal(mine)
    head = f"{verdict.key}: nothing explains operation {verdict.at.id}; before it the object was {' or '.join(verdict.states)}"
    return f"{head}\n{table(window(few, verdict.at))}"


def _describe(op: Op) -> str:
    version = f" v{op.version}" if op.version else ""
    made_from = f" from {op.expected}" if op.expected else ""
    message = f": {op.message[:60]}" if op.message else ""
    if op.outcome is Outcome.FOUND:
        return f"{op.id:>4} read {op.value}{version}"
    return f"{op.id:>4} {op.kind} {op.value}{made_from}{version} -> {op.outcome}{message}"
