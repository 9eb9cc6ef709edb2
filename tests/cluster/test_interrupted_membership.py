"""Daemon crashes in the middle of init, join, promotion, demotion or leave: the next start completes or undoes the step.

The tests kill the daemon and set the files in its state directory to what a crash at that point leaves. They run in file order: the last
one takes the second host out of the cluster.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.lab import cluster as lab_cluster
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root

WORKER, MANAGER = 0, 1


@pytest.fixture(scope="module")
def hosts(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("halfway", 1, 1, archive=images) as found:
        yield found


def edit_node_record(host: LabHost, **changes: Any) -> None:
    path = host.state_dir / "node.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def manager_status(hosts: LabCluster, host: LabHost) -> str:
    status = hosts.nodes(hosts[1])[host.name].get("ManagerStatus") or {}
    return str(status.get("Reachability", "none"))


def wait_manager(hosts: LabCluster, host: LabHost) -> None:
    labs.wait(lambda: manager_status(hosts, host) == "reachable", f"{host.name} as a reachable manager")
    labs.wait(lambda: hosts.request("GET", "/nodes", on=host)[0] == 200, f"{host.name} to answer for the cluster")


def wait_worker(hosts: LabCluster, host: LabHost) -> None:
    labs.wait(lambda: manager_status(hosts, host) == "none", f"{host.name} as a worker")
    labs.wait(
        lambda: hosts.get("/info", on=host)["Swarm"]["ControlAvailable"] is False, f"{host.name} without a control API"
    )
    labs.wait(lambda: not (host.state_dir / "manager").exists(), "its Raft log removed")


def swarm_state(hosts: LabCluster, host: LabHost) -> str:
    return str(hosts.get("/info", on=host)["Swarm"]["LocalNodeState"])


def wait_state(hosts: LabCluster, host: LabHost, state: str) -> None:
    labs.wait(lambda: swarm_state(hosts, host) == state, f"{host.name} {state}")


def test_an_interrupted_promotion_is_completed(hosts: LabCluster) -> None:
    """The node knew its new role and crashed before it had a manager certificate."""
    host = hosts[2]
    lab_cluster.crash(host)
    hosts.docker("node", "promote", host.name)
    edit_node_record(host, role=MANAGER)
    hosts.start(host)
    wait_manager(hosts, host)


def test_an_interrupted_demotion_is_completed_and_the_node_can_be_promoted_again(hosts: LabCluster) -> None:
    """The node knew its new role and crashed before it removed its Raft log. With that log it could never be a manager again."""
    host = hosts[2]
    hosts.docker("node", "promote", host.name)
    wait_manager(hosts, host)
    kept = host.folder / "kept"
    shutil.copytree(host.state_dir / "manager", kept)
    hosts.docker("node", "demote", host.name)
    wait_worker(hosts, host)
    lab_cluster.crash(host)
    shutil.move(kept, host.state_dir / "manager")
    hosts.start(host)
    wait_worker(hosts, host)
    hosts.docker("node", "promote", host.name)
    wait_manager(hosts, host)
    hosts.docker("node", "demote", host.name)
    wait_worker(hosts, host)


def test_an_interrupted_leave_is_completed(hosts: LabCluster) -> None:
    """The node record was removed; the daemon crashed before it ended the tasks and removed the certificate."""
    host = hosts[2]
    hosts.service("everywhere", "--mode", "global")
    hosts.running("everywhere", 2)
    lab_cluster.crash(host)
    (host.state_dir / "node.json").unlink()
    hosts.start(host)
    wait_state(hosts, host, "inactive")
    labs.wait(lambda: not hosts.covey_containers(host), "its containers to end")
    assert not (host.state_dir / "identity").exists()
    hosts.docker("service", "rm", "everywhere")
    old = hosts.nodes(hosts[1])[host.name]["ID"]
    hosts.docker("node", "rm", "--force", old)
    join(hosts, host)


def test_a_removed_node_reports_it_and_can_leave_and_join_again(hosts: LabCluster) -> None:
    host = hosts[2]
    hosts.service("everywhere", "--mode", "global")
    hosts.running("everywhere", 2)
    hosts.docker("node", "rm", "--force", host.name)
    wait_state(hosts, host, "error")
    assert "was removed from the swarm" in hosts.get("/info", on=host)["Swarm"]["Error"]
    assert not hosts.covey_containers(host), "the cluster's tasks end with the membership"
    lab_cluster.crash(host)
    hosts.start(host)
    wait_state(hosts, host, "error")
    hosts.docker("swarm", "leave", on=host)
    assert swarm_state(hosts, host) == "inactive"
    assert not any((host.state_dir / name).exists() for name in ("node.json", "identity", "manager"))
    join(hosts, host)
    hosts.running("everywhere", 2)


def test_an_interrupted_init_is_undone(hosts: LabCluster) -> None:
    """Certificate and Raft log were written and the node record was not, so no client had been told of a cluster."""
    host = hosts[2]
    hosts.docker("swarm", "leave", on=host)
    hosts.docker("swarm", "init", on=host)
    lab_cluster.crash(host)
    (host.state_dir / "node.json").unlink()
    hosts.start(host)
    wait_state(hosts, host, "inactive")
    assert not any((host.state_dir / name).exists() for name in ("identity", "manager"))
    hosts.docker("swarm", "init", on=host)
    hosts.docker("swarm", "leave", "--force", on=host)


def join(hosts: LabCluster, host: LabHost) -> None:
    token = hosts.docker("swarm", "join-token", "-q", "worker", on=hosts[1]).out.strip()
    hosts.docker("swarm", "join", "--token", token, f"{hosts[1].address}:2377", on=host)
