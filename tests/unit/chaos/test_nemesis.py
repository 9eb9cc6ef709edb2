"""What breaks, and in which order."""

from itertools import islice

from tests.chaos.hosts import Engine
from tests.chaos.nemesis import FAULTS, Fault, Step, plan


def struck(steps: list[Step]) -> list[Fault]:
    return [fault for step in steps for fault in (step.fault, *(step.also[:1] if step.also else ()))]


def test_every_fault_comes_before_one_comes_again() -> None:
    for seed in range(50):
        for engine, faults in FAULTS.items():
            steps = list(islice(plan(seed, 3, faults), 4 * len(faults)))
            order = struck(steps)
            for start in range(0, 3 * len(faults), len(faults)):
                assert set(order[start : start + len(faults)]) == set(faults), (seed, engine)
            assert len(order) > len(steps), "some come two at a time"


def test_a_plan_that_begins_later_is_the_rest_of_the_same_plan() -> None:
    faults = FAULTS[Engine.RAFT]
    assert list(islice(plan(7, 5, faults), 5, 30)) == list(islice(plan(7, 5, faults, skip=5), 25))


def test_the_same_breaks_on_both_engines_and_etcd_besides() -> None:
    assert set(FAULTS[Engine.ETCD]) - set(FAULTS[Engine.RAFT]) == {
        Fault.ETCD_KILL,
        Fault.ETCD_PAUSE,
        Fault.ETCD_CUT,
        Fault.ETCD_FULL,
    }
    assert set(FAULTS[Engine.RAFT]) < set(FAULTS[Engine.ETCD])
