"""The checker finds each fault that a store can have, and accepts what merely looks strange. Histories are written by hand: one line an operation."""

import pytest

from tests.linear.checker import Answer, Budget, check, check_key
from tests.linear.history import Kind, Op, Outcome, load, save
from tests.linear.report import explain, minimal

MS = 1_000_000


def story(text: str, key: str = "k") -> list[Op]:
    """``CALLED RETURNED CLIENT KIND [VALUE] [from EXPECTED] [@VERSION] -> OUTCOME``, times in milliseconds."""
    ops = []
    for number, line in enumerate(filter(None, map(str.strip, text.splitlines()))):
        words, outcome = line.split(" -> ")
        called, returned, client, kind, *rest = words.split()
        value = rest.pop(0) if rest and rest[0] != "from" and not rest[0].startswith("@") else ""
        expected = rest[rest.index("from") + 1] if "from" in rest else ""
        version = next((int(word[1:]) for word in rest if word.startswith("@")), 0)
        ops.append(
            Op(
                id=number,
                client=client,
                key=key,
                kind=Kind(kind),
                outcome=Outcome(outcome),
                called=int(called) * MS,
                returned=int(returned) * MS,
                value=value,
                expected=expected,
                version=version,
            )
        )
    return ops


FAULTS = {
    "stale read": """
        0 10 a create x -> done
        20 30 a update y from x -> done
        40 50 b read x -> found
    """,
    "lost acknowledged write": """
        0 10 a create x -> done
        20 30 b read -> absent
        40 50 c read -> absent
    """,
    "dirty read of a write that failed": """
        0 10 a create x -> done
        20 30 a update y from x -> stale
        40 50 b read y -> found
    """,
    "dirty read of a write that was certainly not done": """
        0 10 a create x -> nothing
        20 30 b read x -> found
    """,
    "a compare-and-set that took effect twice": """
        0 10 a create x -> done
        20 30 a update y from x -> done
        40 50 a update z from x -> done
    """,
    "one write at two versions": """
        0 10 a create x -> done
        20 30 b read x @4 -> found
        40 50 b read x @7 -> found
    """,
    "one version with two values": """
        0 10 a create x -> done
        15 30 b read x @4 -> found
        20 40 a update y from x -> done
        41 50 b read y @4 -> found
    """,
    "versions that go back": """
        0 10 a create x -> done
        11 12 a read x @9 -> found
        20 30 a update y from x -> done
        31 32 a read y @5 -> found
    """,
    "versions that go back across a removal": """
        0 10 a create x -> done
        11 12 a read x @9 -> found
        20 30 a remove -> done
        40 50 a create y -> done
        51 52 a read y @8 -> found
    """,
    "writes in another order for another client": """
        0 10 a create x -> done
        20 90 b update y from x -> done
        30 40 c read y -> found
        50 60 d read x -> found
    """,
    "split brain: two managers take a write from the same version": """
        0 10 a create x -> done
        20 60 b update y from x -> done
        20 60 c update z from x -> done
    """,
    "split brain: a reader on each side": """
        0 10 a create x -> done
        20 90 b update y from x -> unknown
        30 40 c read y -> found
        50 60 d read x -> found
    """,
    "a create that succeeds on what is there": """
        0 10 a create x -> done
        20 30 b create y -> done
    """,
    "a create refused by what is not there any more": """
        0 10 a create x -> done
        20 30 a remove -> done
        40 50 b create y -> exists
    """,
    "an update refused as stale by a manager of the past": """
        0 10 a create x -> done
        20 30 a update y from x -> done
        40 50 b update z from y -> stale
    """,
    "a write of unknown outcome that happens and then has not happened": """
        0 10 a create x -> unknown
        20 30 b read x -> found
        40 50 b read -> absent
    """,
    "a write before its call": """
        0 10 b read x -> found
        20 30 a create x -> done
    """,
    "a write of unknown outcome before its call": """
        0 10 b read x -> found
        20 30 a create x -> unknown
    """,
}

GOOD = {
    "nothing": "",
    "reads that overlap a write see either": """
        0 10 a create x -> done
        20 60 a update y from x -> done
        30 90 b read y -> found
        30 90 c read x -> found
    """,
    "a write of unknown outcome happens late": """
        0 10 a create x -> done
        20 30 b update y from x -> unknown
        40 50 a read x -> found
        60 70 a read y -> found
    """,
    "a write of unknown outcome never happens": """
        0 10 a create x -> done
        20 30 b update y from x -> unknown
        40 50 a update z from x -> done
        60 70 a read z -> found
    """,
    "a removal of unknown outcome between two creates": """
        0 10 a create x -> done
        20 30 b remove -> unknown
        40 50 a create y -> done
        60 70 a read y -> found
    """,
    "concurrent compare-and-sets of which one wins": """
        0 10 a create x -> done
        20 60 b update y from x -> done
        20 60 c update z from x -> stale
        70 80 d read y @9 -> found
    """,
    "a refusal by what is being removed": """
        0 10 a create x -> done
        20 60 a remove -> done
        30 90 b create y -> exists
        95 99 b read -> absent
    """,
    "a return and a call at the same moment": """
        0 10 a create x -> done
        10 20 b read -> absent
    """,
}


@pytest.mark.parametrize("name", FAULTS)
def test_it_finds(name: str) -> None:
    assert check_key(story(FAULTS[name])).answer is Answer.VIOLATION


@pytest.mark.parametrize("name", GOOD)
def test_it_accepts(name: str) -> None:
    assert check_key(story(GOOD[name])).answer is Answer.OK


def test_objects_are_judged_by_themselves_and_violations_come_first() -> None:
    good = [op for number in range(5) for op in story("0 10 a create x -> done", key=f"k{number}")]
    verdicts = check([*good, *story(FAULTS["stale read"], key="bad")])
    assert [(verdict.key, verdict.answer) for verdict in verdicts[:2]] == [("bad", "violation"), ("k0", "ok")]
    assert len(verdicts) == 6


def test_what_exceeds_the_budget_is_undecided_and_never_ok() -> None:
    """Creates and removals whose outcome nobody knows, and a read that no order of them explains."""
    unknown = "\n".join(f"{n} 100 c{n} {'remove' if n % 2 else f'create v{n}'} -> unknown" for n in range(12))
    named = "\n".join(f"{n} 300 d{n} update w{n} from v{n} -> unknown" for n in range(0, 12, 2))
    hard = story(f"{unknown}\n{named}\n200 210 r read nobody-wrote-this -> found")
    assert check_key(hard, Budget(configurations=50)).answer is Answer.UNDECIDED
    assert check_key(hard).answer is Answer.VIOLATION


def test_many_writes_of_unknown_outcome_are_cheap_if_nobody_saw_them() -> None:
    unknown = "\n".join(f"{n} 300 c{n} {'remove' if n % 2 else f'create v{n}'} -> unknown" for n in range(60))
    ops = story(f"{unknown}\n200 210 a create x -> done\n220 230 a read x -> found")
    assert check_key(ops, Budget(configurations=5000)).answer is Answer.OK


def test_a_report_shows_the_contradiction_and_leaves_out_what_does_not_matter() -> None:
    idle = "\n".join(f"{20 + n} {21 + n} r{n} read x -> found" for n in range(30))
    after = "\n".join(f"{300 + n} {301 + n} s{n} read y -> found" for n in range(30))
    ops = story(
        f"0 10 a create x -> done\n{idle}\n100 110 a update y from x -> done\n200 210 b read x -> found\n{after}"
    )
    assert [(op.client, op.kind) for op in minimal(ops)] == [("a", "create"), ("a", "update"), ("b", "read")]
    text = explain(check_key(ops), ops)
    assert "before it the object was y" in text
    assert len(text.splitlines()) == 5


def test_a_history_is_kept_in_a_file_and_judged_again(tmp_path) -> None:
    ops = story(FAULTS["split brain: a reader on each side"])
    save(ops, tmp_path / "history.jsonl")
    assert load(tmp_path / "history.jsonl") == ops
