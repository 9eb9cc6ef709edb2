"""Jobs on a real cluster while hosts die, are drained or join, and while the leader changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("jobs", 3, 2, archive=images) as found:
        yield found


def create(lab: LabCluster, name: str, *arguments: str, command: tuple[str, ...], mode: str = "replicated-job") -> None:
    flags = ("-d", "--no-resolve-image", "--stop-signal", "SIGKILL", "--mode", mode, "--name", name)
    lab.docker("service", "create", *flags, *arguments, IMAGE, *command)


def in_state(lab: LabCluster, name: str, state: str) -> list[dict]:
    return lab.tasks(name, desired="complete", state=state)


def completions(lab: LabCluster, name: str) -> Counter:
    return Counter(task.get("Slot", 0) for task in in_state(lab, name, "complete"))


def test_a_job_reaches_its_completions_although_a_worker_and_the_leader_die_and_a_node_is_drained(
    lab: LabCluster,
) -> None:
    """1. Tasks run on all nodes. 2. A worker's host and the leader's lose power; another node is drained. 3. Their tasks run again
    elsewhere, and each slot completes. 4. A global job waits for the drained node, and runs on those that come back.
    """
    create(lab, "work", "--replicas", "10", "--max-concurrent", "5", command=("sleep", "6"))
    running = labs.wait(lambda: (found := in_state(lab, "work", "running"))[4:] and found, "five running tasks")
    assert len(running) == 5
    leader, worker = lab.wait_leader(), lab.workers[0]
    drained = next(host for host in lab.managers if host != leader)
    lab.docker("node", "update", "--availability", "drain", drained.name)
    lab.kill(leader, worker)
    lost = {task["ID"] for task in running if lab.host_of(task) in (leader, worker, drained)}
    assert lost
    slots = labs.wait(
        lambda: (found := completions(lab, "work"))[9] and len(found) == 10 and found, "ten completions", 90
    )
    assert slots == Counter(range(10))
    done = in_state(lab, "work", "complete")
    assert not lost & {task["ID"] for task in done if lab.host_of(task) in (leader, worker)}
    assert lab.docker("service", "ls", "--format", "{{.Replicas}}").out == "0/5 (10/10 completed)\n"

    create(lab, "all", command=("true",), mode="global-job")
    labs.wait(lambda: len(in_state(lab, "all", "complete")) == 2, "the tasks of the two nodes that take some")
    lab.docker("node", "update", "--availability", "active", drained.name)
    lab.start(leader, worker)
    labs.wait(lambda: len(in_state(lab, "all", "complete")) == 5, "the tasks of the nodes that came back", 60)
    assert len({task["NodeID"] for task in in_state(lab, "all", "complete")}) == 5
    assert completions(lab, "work") == Counter(range(10)), "what returned with the hosts is not counted twice"
