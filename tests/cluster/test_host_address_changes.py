"""Hosts whose IP addresses change: one at a time, while another host is dead, and together with a forced new cluster.

``test_disaster_guide`` covers the case that all managers change their addresses at once. The tests run in file order: the second one uses
the service of the first one.
"""

import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from node.lab import cluster as lab_cluster
from node.lab import host as machine
from node.lab import network
from node.lab.layout import GATEWAY, SUBNET, LabHost
from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
COVEY = labs.PYTHON_BIN / "covey"


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("moved", 3, 1, archive=images) as found:
        yield found


def boot_at(lab: LabCluster, host: LabHost, address: str) -> None:
    """Boot a dead host with another address, as after a new DHCP lease."""
    machine.remove_cgroups(host.cgroup)
    network.connect_host(lab.lab, host)
    machine.boot(host)
    lab.inside(host, "ip", "address", "flush", "dev", "eth0")
    lab.inside(host, "ip", "address", "add", f"{address}/24", "dev", "eth0")
    lab.inside(host, "ip", "route", "add", "default", "via", GATEWAY)
    lab_cluster.start_daemon(host)


def boot_all_at(lab: LabCluster, where: dict[LabHost, str]) -> None:
    with ThreadPoolExecutor(len(where)) as pool:
        list(pool.map(lambda item: boot_at(lab, *item), where.items()))


def reachable_manager_addresses(lab: LabCluster, on: LabHost) -> set[str]:
    """IP addresses of the managers that are reachable according to the manager on ``on``."""
    status, nodes = lab.request("GET", "/nodes", on=on)
    if status != http.client.OK:
        return set()
    managers = [node["ManagerStatus"] for node in nodes if node.get("ManagerStatus")]
    return {manager["Addr"].partition(":")[0] for manager in managers if manager["Reachability"] == "reachable"}


def swarm_error(lab: LabCluster, on: LabHost) -> str:
    return str(lab.get("/info", on=on)["Swarm"]["Error"])


def lab_addresses(*numbers: int) -> set[str]:
    return {f"{SUBNET}.{number}" for number in numbers}


def test_hosts_with_new_addresses_reconnect_also_while_another_host_is_dead(lab: LabCluster) -> None:
    first, second, third, worker = lab.hosts
    lab.service("web", "--mode", "global")
    lab.running("web", 4)
    lab.kill(third, worker)
    boot_all_at(lab, {third: f"{SUBNET}.103", worker: f"{SUBNET}.104"})
    labs.wait(
        lambda: reachable_manager_addresses(lab, first) == lab_addresses(1, 2, 103), "the third's new address is known"
    )

    lab.kill(second, third)
    boot_at(
        lab, second, f"{SUBNET}.102"
    )  # no majority can record the new address: the third is dead and the first knows the old address
    labs.wait(
        lambda: lab_addresses(1, 102) <= reachable_manager_addresses(lab, first),
        "the first and second to have a quorum again",
    )
    boot_at(lab, third, f"{SUBNET}.103")
    labs.wait(
        lambda: reachable_manager_addresses(lab, second) == lab_addresses(1, 102, 103), "all three managers reachable"
    )

    lab.kill(worker)
    boot_at(lab, worker, f"{SUBNET}.104")
    labs.wait(
        lambda: lab.nodes(first)[worker.name]["Status"]["Addr"] == f"{SUBNET}.104", "the worker's new address is known"
    )
    lab.running("web", 4)


def test_nodes_reconnect_to_a_forced_new_cluster_at_a_new_address(lab: LabCluster) -> None:
    first, second, third, worker = lab.hosts
    containers = lab.covey_containers(worker)
    lab.kill(first, second, third)
    boot_at(lab, first, f"{SUBNET}.51")
    done = lab.docker("swarm", "init", "--force-new-cluster", "--advertise-addr", f"{SUBNET}.51", on=first)
    assert f"{SUBNET}.51:2377" in done.out
    labs.wait(
        lambda: "no contact with a leading manager" in swarm_error(lab, worker),
        "the worker to report that it has no contact",
        60,
    )
    for nowhere in ("", "nohost.invalid"):
        refused = labs.run([COVEY, "swarm", "reconnect", nowhere], env=lab.environment(worker), check=1).err
        assert "neither an address nor a name" in refused
    labs.run([COVEY, "swarm", "reconnect", f"{SUBNET}.51"], env=lab.environment(worker))
    labs.wait(lambda: lab.nodes(first)[worker.name]["Status"]["State"] == "ready", "the worker to be ready again")
    labs.wait(lambda: not swarm_error(lab, worker), "the worker to report no error")
    assert lab.covey_containers(worker) == containers
    boot_at(
        lab, second, f"{SUBNET}.52"
    )  # It has its old state and no quorum, and learns from the first manager that it was removed.
    labs.run([COVEY, "swarm", "reconnect", f"{SUBNET}.51"], env=lab.environment(second))
    labs.wait(
        lambda: reachable_manager_addresses(lab, first) == lab_addresses(51, 52), "the second manager joined again", 60
    )
