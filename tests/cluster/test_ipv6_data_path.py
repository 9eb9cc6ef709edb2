"""Overlay networks whose tunnels run between IPv6 addresses of the hosts, plain and encrypted, at a port of their own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import LabCluster, wait

pytestmark = pytest.mark.root
PORT = "5789"
REFUSAL_SECONDS = 15.0
MTUS = {"plain": 1430, "sealed": 1350}


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("six", 1, 2, init_cluster=False, archive=images) as running:
        first = running[1]
        options = ("--advertise-addr", first.address, "--data-path-port", PORT, "--data-path-addr", first.address6)
        running.docker("swarm", "init", *options, on=first)
        token = running.docker("swarm", "join-token", "-q", "worker", on=first).out.strip()
        for host in running.workers:
            join = ("--token", token, "--data-path-addr", host.address6, f"{first.address}:2377")
            running.docker("swarm", "join", *join, on=host)
        running.docker("network", "create", "-d", "overlay", "plain")
        running.docker("network", "create", "-d", "overlay", "--opt", "encrypted", "sealed")
        yield running


@pytest.mark.parametrize("network", MTUS)
def test_containers_of_three_hosts_reach_each_other_with_full_packets(lab: LabCluster, network: str) -> None:
    lab.service(network, "--network", network, "--mode", "global")
    tasks = lab.running(network, 3)
    addresses = [task["NetworksAttachments"][0]["Addresses"][0].split("/")[0] for task in tasks]
    assert lab.execute(tasks[0], "cat", "/sys/class/net/eth0/mtu").out.strip() == str(MTUS[network])
    for task in tasks:
        for address in addresses:
            ping = ("ping", "-c1", "-W1", "-s", str(MTUS[network] - 28), address)
            wait(lambda task=task, ping=ping: lab.execute(task, *ping, check=None).code == 0, "an answer")
    for host in lab.hosts:
        wait(lambda host=host: not lab.get("/covey/network/verify", on=host)["Differences"], "nothing differs")


def test_a_node_of_the_other_family_is_told_at_once_and_joins_with_the_remedy(lab: LabCluster) -> None:
    first, last = lab[1], lab[3]
    token = lab.docker("swarm", "join-token", "-q", "worker", on=first).out.strip()
    lab.docker("swarm", "leave", on=last)
    join = ("swarm", "join", "--token", token)
    for option in ("--advertise-addr", "--listen-addr"):
        refused = lab.docker(*join, option, last.address6, f"{first.address}:2377", on=last, check=1)
        assert "IPv4" in refused.err
        assert option in refused.err
    began = time.monotonic()
    refused = lab.docker(*join, f"{first.address}:2377", on=last, check=1)
    assert f"data path address {last.address} of node" in refused.err
    assert "an IPv6 address for --data-path-addr" in refused.err
    assert time.monotonic() - began < REFUSAL_SECONDS
    assert lab.get("/info", on=last)["Swarm"]["LocalNodeState"] == "inactive"
    assert "unknown" not in lab.docker("node", "ls", on=first).out.lower()
    lab.docker(*join, "--data-path-addr", last.address6, f"{first.address}:2377", on=last)
    assert lab.get("/info", on=last)["Swarm"]["LocalNodeState"] == "active"


def test_a_manager_that_is_refused_is_no_member_and_leaves_no_node(lab: LabCluster) -> None:
    """It is a member of the managers' group before its node is refused. Two members of which one is gone would be a cluster without a quorum."""
    first, last = lab[1], lab[3]
    token = lab.docker("swarm", "join-token", "-q", "manager", on=first).out.strip()
    lab.docker("swarm", "leave", on=last)
    join = ("swarm", "join", "--token", token)
    refused = lab.docker(*join, f"{first.address}:2377", on=last, check=1)
    assert "an IPv6 address for --data-path-addr" in refused.err
    nodes = lab.get("/nodes", on=first)
    assert [node["ID"] for node in nodes if node["Spec"]["Role"] == "manager"] == [lab.node_id(first)]
    assert all(node["Description"]["Hostname"] for node in nodes)
    lab.docker("node", "update", "--label-add", "written=yes", lab.node_id(first), on=first)
    lab.docker(*join, "--data-path-addr", last.address6, f"{first.address}:2377", on=last)
    wait(lambda: reachable_managers(lab) == 2, "a second manager")


def reachable_managers(lab: LabCluster) -> int:
    statuses = [node.get("ManagerStatus") or {} for node in lab.get("/nodes", on=lab[1])]
    return sum(status.get("Reachability") == "reachable" for status in statuses)
