"""The quorum is lost: what runs runs on, what cannot be decided is refused soon and in words, and the cluster goes on, by itself when a manager
comes back or by an operator's word when none does.
"""

import contextlib
import http.client
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from node.lab import host as machine
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import Cluster

pytestmark = pytest.mark.root
REFUSED_SECONDS = 12.0


@pytest.fixture(scope="module")
def four(images: Path) -> Iterator[Cluster]:
    with labs.made("lost", 3, 1, archive=images) as found:
        yield found


def manager_states(lab: Cluster, on: LabHost) -> list[str]:
    """Of each node that shows one."""
    status, nodes = lab.request("GET", "/nodes", on=on)
    assert status == http.client.OK, nodes
    return sorted(node["ManagerStatus"]["Reachability"] for node in nodes if node.get("ManagerStatus"))


def refused(lab: Cluster, *command: str, on: LabHost) -> str:
    began = time.monotonic()
    ran = lab.docker(*command, on=on, check=1, stdin=b"x")
    assert time.monotonic() - began < REFUSED_SECONDS, "an operator waits for an answer"
    return ran.err


def test_without_a_quorum_what_runs_runs_on_and_it_goes_on_when_one_manager_is_back(four: Cluster) -> None:
    first, second, third, worker = four.hosts
    four.docker("network", "create", "--driver", "overlay", "inner")
    for name in ("web", "asker"):
        four.service(name, "--network", "inner", "--constraint", "node.role==worker")
    [web], [asker] = four.running("web", 1), four.running("asker", 1)
    four.kill(second, third)

    labs.wait(lambda: not four.leader(first), "nobody leads")
    asked = (("config", "create", "c", "-"), ("service", "ls"), ("node", "ls"))
    with ThreadPoolExecutor(len(asked)) as pool:
        for said in pool.map(lambda command: refused(four, *command, on=first), asked):
            assert "does not have a leader" in said
    address = four.execute(asker, "nslookup", "tasks.web", on=worker).out
    assert "10.0." in address
    assert set(four.covey_containers(worker)) == {four.container(web), four.container(asker)}

    four.start(second)
    four.docker("config", "create", "c", "-", on=first, stdin=b"x")
    four.start(third)
    four.wait_ready()
    assert {task["ID"] for task in four.tasks("web")} == {web["ID"]}


def test_a_majority_that_answers_keeps_a_new_cluster_from_being_torn_off(four: Cluster) -> None:
    first, *_ = four.hosts
    said = refused(four, "swarm", "init", "--force-new-cluster", on=first)
    assert "at least 2 of its 3 managers answer" in said
    said = refused(four, "swarm", "init", "--force-new-cluster", "--autolock", on=first)
    assert "No changes were made. Remove these flags: --autolock" in said
    worker = four.hosts[3]
    assert "this node is a worker" in refused(four, "swarm", "init", "--force-new-cluster", on=worker)
    four.wait_ready()


def manager_pid(host: LabHost) -> int:
    """Of the process of this host's manager, as seen from outside of the host."""
    init = machine.init_pid(host)
    space = Path(f"/proc/{init}/ns/pid").stat().st_ino
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            inside = (process / "ns/pid").stat().st_ino == space
            if inside and b"manager.main" in (process / "cmdline").read_bytes():
                return int(process.name)
    raise AssertionError(f"{host.name} runs no manager")


def test_a_manager_that_stands_still_tears_nothing_off_while_the_others_go_on(four: Cluster) -> None:
    """1. This host's manager hangs, so it sees no leader. 2. The others have one. 3. A cluster of its own would end their memberships."""
    first, *_ = four.hosts
    four.wait_ready()
    pid = manager_pid(first)
    os.kill(pid, signal.SIGSTOP)
    try:
        said = refused(four, "swarm", "init", "--force-new-cluster", on=first)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "the cluster works without this node" in said
    four.wait_ready()


def test_the_manager_that_is_left_founds_the_cluster_anew_and_nothing_that_runs_is_touched(four: Cluster) -> None:
    first, second, third, worker = four.hosts
    if not four.tasks("web"):
        four.service("web", "--constraint", "node.role==worker")
    [web] = four.running("web", 1)
    containers = four.covey_containers(worker)
    cluster_id = four.get("/swarm", on=first)["ID"]
    four.kill(second, third)
    ran = four.docker("swarm", "init", "--force-new-cluster", on=first)
    assert f"({four.node_id(first)}) is now a manager" in ran.out

    assert four.get("/swarm", on=first)["ID"] == cluster_id
    alone = ["reachable", "unreachable", "unreachable"]
    labs.wait(lambda: manager_states(four, first) == alone, "the others shown as managers that are not there")
    assert len(four.nodes(first)) == 4
    labs.wait(lambda: four.nodes(first)[worker.name]["Status"]["State"] == "ready", "the worker is back")
    labs.wait(lambda: four.tasks("web", state="running", on=first), "the task is known to run")
    assert [task["ID"] for task in four.tasks("web", on=first)] == [web["ID"]]
    assert four.covey_containers(worker) == containers
    four.docker("service", "scale", "--detach", "web=2", on=first)
    four.running("web", 2, on=first)

    four.start(second)
    two = ["reachable", "reachable", "unreachable"]
    labs.wait(lambda: manager_states(four, first) == two, "the second manages as a new member")
    assert (second.state_dir / "manager" / "raft.lost" / "member.json").exists(), "what it alone may have is kept"
