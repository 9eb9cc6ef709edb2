"""Property tests of the linearizability checker against the definition.

Histories made from a sequential run are accepted. On small histories of any kind the checker agrees with a search of every order.
"""

import itertools
import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.linear.checker import Answer, check_key
from tests.linear.history import Kind, Op, Outcome, relevant
from tests.linear.model import Model, State

SEEDS = st.integers(0, 2**32 - 1)


def true_history(seed: int, length: int, clients: int = 4) -> list[Op]:
    """A sequential run, each operation given an interval around its moment, no client doing two things at once; some writes are not known
    to their clients to be done, and some of those were not.
    """
    chance = random.Random(seed)
    state, values, ops = State(), ["never"], []
    free = [0] * clients
    version = 0
    for number in range(length):
        moment = (number + 1) * 100
        able = [client for client in range(clients) if free[client] < moment]
        if not able:
            continue
        client = chance.choice(able)
        called = chance.randint(max(free[client], moment - 350), moment)
        returned = moment + chance.randint(0, 350)
        free[client] = returned + 1
        kind = chance.choice([Kind.CREATE, Kind.UPDATE, Kind.UPDATE, Kind.REMOVE, Kind.READ, Kind.READ])
        version += 1
        op = Op(
            id=number, client=f"c{client}", key="k", kind=kind, outcome=Outcome.DONE, called=called, returned=returned
        )
        lost = kind is not Kind.READ and chance.random() < 0.2
        if kind is Kind.READ:
            found = Outcome.ABSENT if state.value is None else Outcome.FOUND
            op = replace(op, outcome=found, value=state.value or "", version=state.floor if state.value else 0)
        elif kind is Kind.CREATE:
            op = replace(op, value=f"v{number}", outcome=Outcome.DONE if state.value is None else Outcome.EXISTS)
        elif kind is Kind.UPDATE:
            op = replace(op, value=f"v{number}", expected=state.value or "never")
            if state.value is not None and chance.random() < 0.3:
                op = replace(op, expected=chance.choice(values))
            stale = Outcome.STALE if op.expected != state.value else Outcome.DONE
            op = replace(op, outcome=Outcome.ABSENT if state.value is None else stale)
        elif state.value is None:
            op = replace(op, outcome=Outcome.ABSENT)
        if op.outcome is Outcome.DONE and kind is not Kind.READ and (not lost or chance.random() < 0.5):
            state = State(None if kind is Kind.REMOVE else op.value, version)
            values.append(op.value)
        ops.append(replace(op, outcome=Outcome.UNKNOWN) if lost else op)
    return ops


def by_trying_every_order(ops: Sequence[Op]) -> bool:
    """The definition, word by word: some of the unknown writes, all of the others, an order that keeps what was over before the call."""
    model = Model(ops)
    if model.contradiction is not None:
        return False
    sure = [op for op in relevant(ops) if not op.open]
    maybe = [op for op in relevant(ops) if op.open]
    for count in range(len(maybe) + 1):
        for taken in itertools.combinations(maybe, count):
            if any(possible(order, model) for order in itertools.permutations([*sure, *taken])):
                return True
    return False


def possible(order: Sequence[Op], model: Model) -> bool:
    state: State | None = State()
    for number, op in enumerate(order):
        if any(not later.open and later.returned < op.called for later in order[number + 1 :]):
            return False
        state = model.step(state, op)
        if state is None:
            return False
    return True


def mutated(ops: list[Op], chance: random.Random) -> list[Op]:
    """One thing changed that a faulty store could have said."""
    number = chance.randrange(len(ops))
    op = ops[number]
    values = [other.value for other in ops if other.value]
    changes = [
        replace(op, outcome=Outcome.UNKNOWN if op.kind is not Kind.READ else Outcome.ABSENT),
        replace(op, returned=op.called + chance.randint(0, 200)),
        replace(op, called=op.called + 300, returned=op.returned + 300),
    ]
    if op.kind is Kind.READ and values:
        changes += [replace(op, outcome=Outcome.FOUND, value=chance.choice(values), version=chance.randint(1, 9))] * 3
    if op.kind is Kind.UPDATE:
        changes += [replace(op, outcome=Outcome.DONE), replace(op, outcome=Outcome.STALE)]
    if op.kind is Kind.CREATE:
        changes += [replace(op, outcome=Outcome.DONE), replace(op, outcome=Outcome.EXISTS)]
    return [*ops[:number], chance.choice(changes), *ops[number + 1 :]]


@given(SEEDS, st.integers(1, 120))
def test_a_history_of_one_sequential_object_is_always_accepted(seed: int, length: int) -> None:
    assert check_key(true_history(seed, length)).answer is Answer.OK


@given(SEEDS, st.integers(1, 6), st.integers(0, 2))
def test_small_histories_get_the_same_verdict_as_a_search_of_every_order(
    seed: int, length: int, mutations: int
) -> None:
    ops, chance = true_history(seed, length, clients=3), random.Random(seed)
    for _ in range(mutations if ops else 0):
        ops = mutated(ops, chance)
    expected = Answer.OK if by_trying_every_order(ops) else Answer.VIOLATION
    assert check_key(ops).answer is expected


def test_mutated_histories_include_accepted_and_rejected_ones() -> None:
    """Without violations in some histories the test above would prove little."""
    answers = []
    for seed in range(300):
        ops = true_history(seed, 6, clients=3)
        answers.append(check_key(mutated(ops, random.Random(seed))).answer)
    assert answers.count(Answer.OK) > 50
    assert answers.count(Answer.VIOLATION) > 50
