"""What clients of every manager saw while hosts died, stopped, were cut off, ran full and lost their clocks has one order that explains it.

The seeds are printed; each run is repeated by the command that is printed with it. ``COVEY_TEST_SEED`` repeats a run here, ``make soak`` goes on
for as long as wanted.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from node.lab import api
from node.lab.layout import LabHost
from tests.chaos.client import Client, History
from tests.chaos.hosts import Arena, Engine, arena
from tests.chaos.nemesis import FAULTS, Fault
from tests.chaos.run import Result, chaos, chaos_on
from tests.linear.history import Op, Outcome
from tests.support import labs

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
SEED = int(os.environ.get("COVEY_TEST_SEED", "1"))
SECONDS = 20.0


def hold(result: Result) -> None:
    print(result.line())
    assert not result.report, result.report
    assert result.faults > 2
    assert result.acknowledged > 50, "too little was written to mean something"
    assert result.operations > 4 * result.histories, "histories too thin to be judged"


@pytest.fixture(scope="module")
def three() -> Iterator[Arena]:
    with arena(labs.lab_name("chaos"), 3) as here:
        yield here


@pytest.fixture(scope="module")
def on_etcd() -> Iterator[Arena]:
    with arena(labs.lab_name("onetcd"), 3, Engine.ETCD) as here:
        yield here


@pytest.fixture(scope="module")
def before() -> list[Result]:
    """What the runs on the lab of three were, so that each goes on with the plan where the last one left it."""
    return []


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_histories_of_three_managers_are_linearizable_whatever_breaks(
    three: Arena, before: list[Result], last: bool, tmp_path: Path
) -> None:
    """The last run goes on until, in one of them, every fault has struck."""
    print(f"COVEY_TEST_SEED={SEED}")
    every, skip = set(FAULTS[Engine.RAFT]), sum(result.faults for result in before)
    due = every.difference(*(result.struck for result in before)) if last else ()
    before.append(chaos_on(three, seed=SEED, skip=skip, seconds=SECONDS, until_struck=due, folder=tmp_path))
    hold(before[-1])
    assert not last or set().union(*(result.struck for result in before)) == every


def test_histories_of_five_managers_are_linearizable_whatever_breaks(tmp_path: Path) -> None:
    hold(chaos(name=labs.lab_name("five"), seed=SEED, seconds=SECONDS, managers=5, folder=tmp_path))


def test_histories_of_managers_on_etcd_are_linearizable_whatever_breaks(on_etcd: Arena, tmp_path: Path) -> None:
    every = FAULTS[Engine.ETCD]
    result = chaos_on(on_etcd, seed=SEED, seconds=SECONDS, until_struck=every, folder=tmp_path)
    hold(result)
    assert result.struck == set(every)


class Probe:
    """One client of one host."""

    def __init__(self, host: LabHost) -> None:
        self.history = History()
        self.client = Client("probe", host.socket, self.history)
        self._keys = (f"probe-{secrets.token_hex(4)}" for _ in range(1000))

    def write(self) -> Op:
        self.client.create(next(self._keys))
        return self.history.ops[-1]

    def writes(self) -> bool:
        return self.write().outcome is Outcome.DONE


@contextlib.contextmanager
def healed(here: Arena) -> Iterator[None]:
    try:
        yield
    finally:
        here.heal()
        for host in here.hosts:
            labs.wait(Probe(host).writes, f"a write through {host.name}")


def leader_of(here: Arena) -> LabHost:
    return labs.wait(here.leader, "a leader")


def test_a_disk_that_is_filled_is_full_for_its_manager(three: Arena) -> None:
    with healed(three):
        victim = leader_of(three)
        three.fill_disk(victim)
        labs.wait(lambda: "No space left on device" in victim.log.read_text(), "the manager's end")
        labs.wait(lambda: three.leader([host for host in three.hosts if host != victim]) != victim, "another leader")


def test_a_disk_that_is_full_is_nothing_to_a_manager_on_etcd(on_etcd: Arena) -> None:
    with healed(on_etcd):
        victim = leader_of(on_etcd)
        pid = on_etcd.manager_pid(victim)
        assert pid is not None
        assert on_etcd.fill_disk(victim)
        for _ in range(5):
            assert Probe(victim).writes()
        assert on_etcd.leader() == victim
        assert on_etcd.manager_pid(victim) == pid


def test_an_etcd_whose_database_is_full_refuses_writes_until_it_has_room(on_etcd: Arena) -> None:
    with healed(on_etcd):
        assert on_etcd.fill_etcd()
        for host in on_etcd.hosts:
            refused = Probe(host).write()
            assert refused.outcome is Outcome.NOTHING
            assert "its database is full" in refused.said
        assert on_etcd.free_etcd()


def test_a_clock_that_is_set_is_wrong_for_its_daemons(three: Arena) -> None:
    with healed(three):
        victim = leader_of(three)
        three.set_clock(victim, -86_400.0)
        probe = Probe(victim)
        labs.wait(probe.writes, "a write at the wrong time")
        created = api.call(victim.socket, "GET", f"/configs/{probe.history.ops[-1].key}")["CreatedAt"]
        seconds = time.time() - datetime.fromisoformat(created[:19] + "+00:00").timestamp()
        assert 86_000 < seconds < 87_000


@pytest.mark.parametrize("fault", [Fault.DEAF, Fault.DUMB])
def test_a_leader_whose_link_works_in_one_direction_leads_no_more(three: Arena, fault: Fault) -> None:
    with healed(three):
        victim = leader_of(three)
        others = [host for host in three.hosts if host != victim]
        if fault is Fault.DEAF:
            three.drop(victim, incoming=others)
        else:
            three.drop(victim, outgoing=others)
        labs.wait(lambda: three.leader(others) in others, "another leader")
