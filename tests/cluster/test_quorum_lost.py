"""The quorum is lost: what runs runs on, what cannot be decided is refused soon and in words, and the cluster goes on, by itself when a manager
comes back or by an operator's word when none does.
"""

import http.client
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import labs
import pytest
from labs import Cluster

from node.lab.layout import Host

pytestmark = pytest.mark.root
REFUSED_SECONDS = 12.0


@pytest.fixture(scope="module")
def four(images: Path) -> Iterator[Cluster]:
    with labs.made("lost", 3, 1, archive=images) as found:
        yield found


def manager_states(lab: Cluster, on: Host) -> list[str]:
    """Of each node that shows one."""
    status, nodes = lab.request("GET", "/nodes", on=on)
    assert status == http.client.OK, nodes
    return sorted(node["ManagerStatus"]["Reachability"] for node in nodes if node.get("ManagerStatus"))


def refused(lab: Cluster, *command: str, on: Host) -> str:
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
    worker = four.hosts[3]
    assert "this node is a worker" in refused(four, "swarm", "init", "--force-new-cluster", on=worker)
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
    labs.wait(lambda: manager_states(four, first) == ["reachable"], "the others have no manager's status")
    assert len(four.nodes(first)) == 4
    labs.wait(lambda: four.nodes(first)[worker.name]["Status"]["State"] == "ready", "the worker is back")
    labs.wait(lambda: four.tasks("web", state="running", on=first), "the task is known to run")
    assert [task["ID"] for task in four.tasks("web", on=first)] == [web["ID"]]
    assert four.covey_containers(worker) == containers
    four.docker("service", "scale", "--detach", "web=2", on=first)
    four.running("web", 2, on=first)
