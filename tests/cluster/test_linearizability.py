"""Linearizability of a cluster under faults: crashes, pauses, network cuts, full disks and wrong clocks.

Each run prints its seed and the command that repeats it. ``COVEY_TEST_SEED`` chooses the seed here; ``make soak`` runs longer.
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


def assert_linearizable(result: Result) -> None:
    print(result.line())
    assert not result.report, result.report
    assert result.faults > 2
    assert result.acknowledged > 50, "too few acknowledged writes for a meaningful check"
    assert result.operations > 4 * result.histories, "too few operations per history for a meaningful check"


@pytest.fixture(scope="module")
def raft_arena() -> Iterator[Arena]:
    with arena(labs.lab_name("chaos"), 3) as target:
        yield target


@pytest.fixture(scope="module")
def etcd_arena() -> Iterator[Arena]:
    with arena(labs.lab_name("onetcd"), 3, Engine.ETCD) as target:
        yield target


@pytest.fixture(scope="module")
def earlier_runs() -> list[Result]:
    """Results of the earlier runs in the lab of three, so that each run continues the fault plan where the last one stopped."""
    return []


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_histories_of_three_managers_are_linearizable_under_faults(
    raft_arena: Arena, earlier_runs: list[Result], last: bool, tmp_path: Path
) -> None:
    """The last run continues until every fault has occurred in one of the runs."""
    print(f"COVEY_TEST_SEED={SEED}")
    every, skip = set(FAULTS[Engine.RAFT]), sum(result.faults for result in earlier_runs)
    due = every.difference(*(result.struck for result in earlier_runs)) if last else ()
    earlier_runs.append(chaos_on(raft_arena, seed=SEED, skip=skip, seconds=SECONDS, until_struck=due, folder=tmp_path))
    assert_linearizable(earlier_runs[-1])
    assert not last or set().union(*(result.struck for result in earlier_runs)) == every


def test_histories_of_five_managers_are_linearizable_under_faults(tmp_path: Path) -> None:
    assert_linearizable(chaos(name=labs.lab_name("five"), seed=SEED, seconds=SECONDS, managers=5, folder=tmp_path))


def test_histories_of_managers_on_etcd_are_linearizable_under_faults(etcd_arena: Arena, tmp_path: Path) -> None:
    every = FAULTS[Engine.ETCD]
    result = chaos_on(etcd_arena, seed=SEED, seconds=SECONDS, until_struck=every, folder=tmp_path)
    assert_linearizable(result)
    assert result.struck == set(every)


class Probe:
    """Client of one host that writes under fresh keys."""

    def __init__(self, host: LabHost) -> None:
        self.history = History()
        self.client = Client("probe", host.socket, self.history)
        self._keys = (f"probe-{secrets.token_hex(4)}" for _ in range(1000))

    def write(self) -> Op:
        self.client.create(next(self._keys))
        return self.history.ops[-1]

    def can_write(self) -> bool:
        return self.write().outcome is Outcome.DONE


@contextlib.contextmanager
def healed(target: Arena) -> Iterator[None]:
    try:
        yield
    finally:
        target.heal()
        for host in target.hosts:
            labs.wait(Probe(host).can_write, f"a write through {host.name}")


def leader_of(target: Arena) -> LabHost:
    return labs.wait(target.leader, "a leader")


def test_a_manager_with_a_full_disk_stops_and_another_leads(raft_arena: Arena) -> None:
    with healed(raft_arena):
        victim = leader_of(raft_arena)
        raft_arena.fill_disk(victim)
        labs.wait(lambda: "No space left on device" in victim.log.read_text(), "the manager to stop")
        labs.wait(
            lambda: raft_arena.leader([host for host in raft_arena.hosts if host != victim]) != victim, "another leader"
        )


def test_a_manager_on_etcd_is_not_affected_by_a_full_disk(etcd_arena: Arena) -> None:
    with healed(etcd_arena):
        victim = leader_of(etcd_arena)
        pid = etcd_arena.manager_pid(victim)
        assert pid is not None
        assert etcd_arena.fill_disk(victim)
        for _ in range(5):
            assert Probe(victim).can_write()
        assert etcd_arena.leader() == victim
        assert etcd_arena.manager_pid(victim) == pid


def test_a_full_etcd_database_refuses_writes_until_it_has_space(etcd_arena: Arena) -> None:
    with healed(etcd_arena):
        assert etcd_arena.fill_etcd()
        for host in etcd_arena.hosts:
            refused = Probe(host).write()
            assert refused.outcome is Outcome.NOTHING
            assert "its database is full" in refused.message
        assert etcd_arena.free_etcd()


def test_a_changed_clock_is_seen_by_the_daemons_of_that_host(raft_arena: Arena) -> None:
    with healed(raft_arena):
        victim = leader_of(raft_arena)
        raft_arena.set_clock(victim, -86_400.0)
        probe = Probe(victim)
        labs.wait(probe.can_write, "a write at the wrong time")
        created = api.call(victim.socket, "GET", f"/configs/{probe.history.ops[-1].key}")["CreatedAt"]
        seconds = time.time() - datetime.fromisoformat(created[:19] + "+00:00").timestamp()
        assert 86_000 < seconds < 87_000


@pytest.mark.parametrize("fault", [Fault.DEAF, Fault.DUMB])
def test_a_leader_with_a_one_way_link_loses_leadership(raft_arena: Arena, fault: Fault) -> None:
    with healed(raft_arena):
        victim = leader_of(raft_arena)
        others = [host for host in raft_arena.hosts if host != victim]
        if fault is Fault.DEAF:
            raft_arena.drop(victim, incoming=others)
        else:
            raft_arena.drop(victim, outgoing=others)
        labs.wait(lambda: raft_arena.leader(others) in others, "another leader")
