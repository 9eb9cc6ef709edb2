"""The leader's own host fails: its replicas move as fast as those of any other host, and a host that only lost its manager keeps them."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
MOVED_SECONDS = 5.0
"""Three heartbeat periods, and room for starts on a busy machine. Without evidence of the death, five periods take 5.4 s and more."""
GRACE_SECONDS = 4.5
"""Longer than the time after which a dead leader's host is DOWN."""


@pytest.fixture(scope="module")
def trio(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("leadhost", 3, archive=images) as found:
        yield found


@pytest.fixture
def managers(trio: LabCluster) -> Iterator[LabCluster]:
    trio.restore_all_hosts()
    yield trio
    trio.restore_all_hosts()
    trio.remove_all_objects()


def test_replicas_on_the_leaders_dead_host_run_elsewhere_in_time(managers: LabCluster) -> None:
    leader = managers.wait_leader()
    survivor = next(host for host in managers.managers if host != leader)
    node = managers.node_id(leader)
    managers.service("web", "--replicas", "6")
    before = {task["ID"]: task["NodeID"] for task in managers.running("web", 6)}
    assert node in before.values()
    managers.kill(leader)
    killed = time.monotonic()

    def moved() -> bool:
        status, tasks = managers.request(
            "GET", '/tasks?filters={"service":["web"],"desired-state":["running"]}', on=survivor
        )
        running = [task for task in tasks if task["Status"]["State"] == "running"] if status == 200 else []
        return len([task for task in running if task["NodeID"] != node]) == 6

    labs.wait(moved, "six replicas on the surviving hosts", 20)
    assert time.monotonic() - killed < MOVED_SECONDS
    after = {task["ID"] for task in managers.running("web", 6, on=survivor)}
    assert {task for task, where in before.items() if where != node} < after, "replicas on healthy hosts were replaced"
    states = {name: shown["Status"]["State"] for name, shown in managers.nodes(on=survivor).items()}
    assert states == {host.name: "down" if host == leader else "ready" for host in managers.hosts}


def test_a_host_whose_manager_hangs_while_it_leads_is_never_down(managers: LabCluster) -> None:
    leader = managers.wait_leader()
    survivor = next(host for host in managers.managers if host != leader)
    managers.service("web", "--replicas", "6")
    before = {task["ID"] for task in managers.running("web", 6)}
    pid = labs.manager_pid(leader)
    os.kill(pid, signal.SIGSTOP)
    try:
        managers.wait_leader(but=leader, on=survivor)
        elected, states = time.monotonic(), set()
        while (
            time.monotonic() - elected < GRACE_SECONDS
        ):  # watched, not waited for: the state must not change meanwhile
            states.add(managers.nodes(on=survivor)[leader.name]["Status"]["State"])
        assert "down" not in states
    finally:
        os.kill(pid, signal.SIGCONT)
    assert {task["ID"] for task in managers.running("web", 6, on=survivor)} == before
