"""Loss of quorum: tasks keep running, writes are refused soon with a reason, and the cluster recovers.

It recovers by itself when a manager returns, or with ``--force-new-cluster`` when none does.
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
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
REFUSED_SECONDS = 30.0  # a refusal takes a few seconds on a quiet machine


@pytest.fixture(scope="module")
def lost_lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("lost", 3, 1, archive=images) as found:
        yield found


def manager_states(lab: LabCluster, on: LabHost) -> list[str]:
    """Sorted manager reachability of the nodes that have one."""
    status, nodes = lab.request("GET", "/nodes", on=on)
    assert status == http.client.OK, nodes
    return sorted(node["ManagerStatus"]["Reachability"] for node in nodes if node.get("ManagerStatus"))


def refusal(lab: LabCluster, *command: str, on: LabHost) -> str:
    began = time.monotonic()
    ran = lab.docker(*command, on=on, check=1, stdin=b"x")
    assert time.monotonic() - began < REFUSED_SECONDS, "the refusal took too long"
    return ran.err


def test_without_quorum_tasks_keep_running_and_one_returning_manager_restores_it(lost_lab: LabCluster) -> None:
    first, second, third, worker = lost_lab.hosts
    lost_lab.docker("network", "create", "--driver", "overlay", "inner")
    for name in ("web", "asker"):
        lost_lab.service(name, "--network", "inner", "--constraint", "node.role==worker")
    [web], [asker] = lost_lab.running("web", 1), lost_lab.running("asker", 1)
    lost_lab.kill(second, third)

    labs.wait(lambda: not lost_lab.leader(first), "no leader")
    asked = (("config", "create", "c", "-"), ("service", "ls"), ("node", "ls"))
    with ThreadPoolExecutor(len(asked)) as pool:
        for said in pool.map(lambda command: refusal(lost_lab, *command, on=first), asked):
            assert "does not have a leader" in said
    address = lost_lab.execute(asker, "nslookup", "tasks.web", on=worker).out
    assert "10.0." in address
    assert set(lost_lab.covey_containers(worker)) == {lost_lab.container(web), lost_lab.container(asker)}

    lost_lab.start(second)
    lost_lab.docker("config", "create", "c", "-", on=first, stdin=b"x")
    lost_lab.start(third)
    lost_lab.wait_ready()
    assert {task["ID"] for task in lost_lab.tasks("web")} == {web["ID"]}


def test_force_new_cluster_is_refused_while_a_majority_answers(lost_lab: LabCluster) -> None:
    first, *_ = lost_lab.hosts
    said = refusal(lost_lab, "swarm", "init", "--force-new-cluster", on=first)
    assert "at least 2 of its 3 managers answer" in said
    said = refusal(lost_lab, "swarm", "init", "--force-new-cluster", "--max-snapshots", "3", on=first)
    assert "No changes were made. Remove these flags: --max-snapshots" in said
    worker = lost_lab.hosts[3]
    assert "this node is a worker" in refusal(lost_lab, "swarm", "init", "--force-new-cluster", on=worker)
    lost_lab.wait_ready()


def manager_pid(host: LabHost) -> int:
    """PID of the host's manager process in the root PID namespace."""
    init = machine.init_pid(host)
    space = Path(f"/proc/{init}/ns/pid").stat().st_ino
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            inside = (process / "ns/pid").stat().st_ino == space
            if inside and b"manager.main" in (process / "cmdline").read_bytes():
                return int(process.name)
    raise AssertionError(f"{host.name} runs no manager")


def test_force_new_cluster_is_refused_on_a_paused_manager_while_the_others_work(lost_lab: LabCluster) -> None:
    """1. This host's manager is paused and sees no leader. 2. The others have one. 3. A forced new cluster would remove them."""
    first, *_ = lost_lab.hosts
    lost_lab.wait_ready()
    pid = manager_pid(first)
    os.kill(pid, signal.SIGSTOP)
    try:
        said = refusal(lost_lab, "swarm", "init", "--force-new-cluster", on=first)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "the cluster works without this node" in said
    lost_lab.wait_ready()


def test_force_new_cluster_on_the_last_manager_keeps_all_tasks_running(lost_lab: LabCluster) -> None:
    first, second, third, worker = lost_lab.hosts
    if not lost_lab.tasks("web"):
        lost_lab.service("web", "--constraint", "node.role==worker")
    [web] = lost_lab.running("web", 1)
    containers = lost_lab.covey_containers(worker)
    cluster_id = lost_lab.get("/swarm", on=first)["ID"]
    lost_lab.kill(second, third)
    ran = lost_lab.docker("swarm", "init", "--force-new-cluster", on=first)
    assert f"({lost_lab.node_id(first)}) is now a manager" in ran.out

    assert lost_lab.get("/swarm", on=first)["ID"] == cluster_id
    alone = ["reachable", "unreachable", "unreachable"]
    labs.wait(lambda: manager_states(lost_lab, first) == alone, "the others shown as unreachable managers")
    assert len(lost_lab.nodes(first)) == 4
    labs.wait(lambda: lost_lab.nodes(first)[worker.name]["Status"]["State"] == "ready", "the worker to be ready again")
    labs.wait(lambda: lost_lab.tasks("web", state="running", on=first), "the task shown as running")
    assert [task["ID"] for task in lost_lab.tasks("web", on=first)] == [web["ID"]]
    assert lost_lab.covey_containers(worker) == containers
    lost_lab.docker("service", "scale", "--detach", "web=2", on=first)
    lost_lab.running("web", 2, on=first)

    lost_lab.start(second)
    two = ["reachable", "reachable", "unreachable"]
    labs.wait(lambda: manager_states(lost_lab, first) == two, "the second to be a manager as a new member")
    assert (second.state_dir / "manager" / "raft.lost" / "member.json").exists(), "its old Raft state is kept"
