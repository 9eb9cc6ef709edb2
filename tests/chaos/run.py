"""A chaos run: a lab, clients and a nemesis; then healing, a final read through every manager, and the verdict.

Called by ``tests/cluster/test_linearizability.py``, by ``tests.soak`` and by hand: ``python -m tests.chaos --seed N``.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import msgspec

from tests.chaos.client import Client, History
from tests.chaos.hosts import Arena, Engine, arena
from tests.chaos.load import Load
from tests.chaos.nemesis import FAULTS, Fault, Nemesis, plan
from tests.linear.checker import Answer, Budget, check
from tests.linear.history import Op, save
from tests.linear.report import explain

HEALED_SECONDS = 90.0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a run. ``report`` is empty if there is neither a violation nor an undecided history."""

    seed: int
    faults: int
    """Steps of the plan; a step may have two faults."""
    struck: frozenset[Fault]
    operations: int
    acknowledged: int
    unknown: int
    histories: int
    undecided: int
    violations: int
    healed_seconds: float
    report: str

    def line(self) -> str:
        return (
            f"seed {self.seed}: {self.faults} faults, {self.operations} operations checked ({self.acknowledged} writes acknowledged, "
            f"{self.unknown} unknown) in {self.histories} histories: {self.violations} violations, {self.undecided} undecided; "
            f"healed in {self.healed_seconds:.1f} s; struck: {' '.join(sorted(self.struck))}"
        )


def chaos(
    *,
    name: str,
    seed: int,
    seconds: float,
    managers: int = 3,
    engine: Engine = Engine.RAFT,
    faults: Sequence[Fault] = (),
    skip: int = 0,
    until_struck: Collection[Fault] = (),
    folder: Path,
    log: Callable[[str], None] = print,
) -> Result:
    """Run ``chaos_on`` on a new lab."""
    with arena(name, managers, engine) as target:
        return chaos_on(
            target,
            seed=seed,
            seconds=seconds,
            faults=faults,
            skip=skip,
            until_struck=until_struck,
            folder=folder,
            log=log,
        )


def chaos_on(
    target: Arena,
    *,
    seed: int,
    seconds: float,
    faults: Sequence[Fault] = (),
    skip: int = 0,
    until_struck: Collection[Fault] = (),
    folder: Path,
    log: Callable[[str], None] = print,
) -> Result:
    """Run faults and load on this lab. The plan begins after ``skip`` steps and runs for ``seconds``, and longer until the faults in
    ``until_struck`` have struck. A history with a violation is written to ``folder``.
    """
    faults = faults or FAULTS[target.engine]
    asked = f"--seed {seed} --managers {len(target.hosts)} --seconds {seconds:g} --engine {target.engine} --nemesis {','.join(faults)}"
    more = f" --until-struck {','.join(sorted(until_struck))}" if until_struck else ""
    log(f"python -m tests.chaos {asked} --skip {skip}{more}")
    history = History()
    nemesis = Nemesis(target, log)
    prefix = f"s{seed}-{skip}"
    try:
        with Load(target.sockets(), history, seed, prefix) as load:
            nemesis.run(plan(seed, len(target.hosts), faults, skip), seconds, until_struck)
            target.heal()
            began = time.monotonic()
            _wait_healed(target, load, history)
            healed = time.monotonic() - began
        for number, socket in target.sockets():
            _final_read(Client(f"last.{number}", socket, history), load.all_keys())
    finally:
        target.heal()
    return judge(history.ops, seed=seed, nemesis=nemesis, healed=healed, folder=folder)


def judge(ops: Sequence[Op], *, seed: int, nemesis: Nemesis, healed: float, folder: Path) -> Result:
    verdicts = check(ops, Budget())
    bad = [verdict for verdict in verdicts if verdict.answer is not Answer.OK]
    report = ""
    if bad:
        path = folder / f"history-{seed}.jsonl"
        save(ops, path)
        report = f"python -m tests.linear {path}\n" + "\n\n".join(explain(verdict, ops) for verdict in bad[:3])
    counts = Counter(verdict.answer for verdict in verdicts)
    return Result(
        seed=seed,
        faults=nemesis.done,
        struck=frozenset(nemesis.struck),
        operations=len(ops),
        acknowledged=sum(op.writes and not op.open for op in ops),
        unknown=sum(op.writes and op.open for op in ops),
        histories=len(verdicts),
        undecided=counts[Answer.UNDECIDED],
        violations=counts[Answer.VIOLATION],
        healed_seconds=healed,
        report=report,
    )


def _wait_healed(target: Arena, load: Load, history: History) -> None:
    """Wait until every manager accepts a write again."""
    for number, socket in target.sockets():
        client = Client(f"healed.{number}", socket, history)
        deadline = time.monotonic() + HEALED_SECONDS
        attempt = 0
        while client.create(f"{load.prefix}-healed-{number}-{attempt}") != "done":
            attempt += 1
            if time.monotonic() > deadline:
                raise AssertionError(f"manager {number} accepts no writes {HEALED_SECONDS:g} s after healing")
            time.sleep(0.1)


def _final_read(client: Client, keys: list[str]) -> None:
    deadline = time.monotonic() + HEALED_SECONDS
    while not client.read_all(keys, 20.0):
        if time.monotonic() > deadline:
            raise AssertionError(f"{client.name} cannot list {HEALED_SECONDS:g} s after healing")
        time.sleep(0.1)
