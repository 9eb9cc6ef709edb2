"""Names and addresses that services get on overlay networks: aliases and options, fixed and exhausted addresses, routes of hosts, reuse."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.support import labs
from tests.support.labs import LabCluster, wait

pytestmark = pytest.mark.root
ROUTE, DEFAULT_POOL = "10.63.5.0/24", "10.0.1.0/24"


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    """Two hosts. Before they form a cluster, the second reaches two subnets by routes of its own."""
    with labs.running_lab("addr", 1, 1, init_cluster=False, archive=images) as running:
        first, second = running.hosts
        for subnet in (ROUTE, DEFAULT_POOL):
            running.inside(second, "ip", "route", "add", subnet, "via", first.address)
        running.docker("swarm", "init", "--advertise-addr", first.address, on=first)
        token = running.docker("swarm", "join-token", "-q", "worker", on=first).out.strip()
        running.docker("swarm", "join", "--token", token, f"{first.address}:2377", on=second)
        running.wait_ready()
        yield running


@pytest.fixture(autouse=True)
def _empty(lab: LabCluster) -> Iterator[None]:
    yield
    lab.remove_all_objects()


def own(task: dict[str, Any]) -> str:
    return str(ip_interface(task["NetworksAttachments"][0]["Addresses"][0]).ip)


def by_host(lab: LabCluster, service: str) -> list[dict[str, Any]]:
    """The tasks of a service with one on each host, the first host's first."""
    return sorted(lab.running(service, 2), key=lambda task: lab.host_of(task).name)


def reaches(lab: LabCluster, task: dict[str, Any], name: str) -> None:
    wait(lambda: lab.execute(task, "ping", "-c1", "-W1", name, check=None).code == 0, f"an answer of {name}")


def vni(lab: LabCluster, network: str) -> str:
    found = lab.json("network", "inspect", network)[0]["Options"]
    return str(found["com.docker.network.driver.overlay.vxlanid_list"])


def test_aliases_and_options_that_nobody_knows_are_kept_and_aliases_lead_to_the_service(lab: LabCluster) -> None:
    lab.docker("network", "create", "-d", "overlay", "--opt", "made.up=1", "net")
    assert lab.json("network", "inspect", "net")[0]["Options"]["made.up"] == "1"
    wanted = "name=net,alias=store,alias=shop,driver-opt=made.up=2,driver-opt=other=3"
    lab.service("web", "--mode", "global", "--network", wanted)
    lab.service("client", "--mode", "global", "--network", "net")
    (config,) = lab.get("/services/web")["Spec"]["TaskTemplate"]["Networks"]
    assert (config["Aliases"], config["DriverOpts"]) == (["store", "shop"], {"made.up": "2", "other": "3"})
    lab.running("web", 2)
    for task in by_host(lab, "client"):
        for name in ("store", "shop", "web"):
            reaches(lab, task, name)


def test_fixed_addresses_of_slots_answer_across_hosts(lab: LabCluster) -> None:
    lab.docker("network", "create", "-d", "overlay", "--subnet", "10.61.0.0/24", "fixed")
    spread = ("--replicas-max-per-node", "1", "--replicas", "2")
    lab.service("db", "--network", "name=fixed,driver-opt=covey.addresses=10.61.0.50;10.61.0.51", *spread)
    for task in by_host(lab, "db"):
        shown = lab.execute(task, "ip", "-4", "-o", "addr", "show", "eth0").out
        assert f"10.61.0.{49 + task['Slot']}/24" in shown
        for address in ("10.61.0.50", "10.61.0.51"):
            reaches(lab, task, address)


def test_addresses_that_run_out_are_told_on_the_task_and_heal(lab: LabCluster) -> None:
    lab.docker("network", "create", "-d", "overlay", "--subnet", "10.62.0.0/29", "small")
    inside = ("--network", "small", "--endpoint-mode", "dnsrr")
    lab.service("first", *inside, "--replicas", "4")
    lab.running("first", 4)
    lab.service("second", *inside, "--replicas", "2")
    exhausted = "could not find an available IP in network small: 10.62.0.0/29 is exhausted"
    wait(lambda: [task["Status"].get("Err") for task in lab.tasks("second")].count(exhausted) == 1, "the reason")
    assert exhausted in lab.docker("service", "ps", "--no-trunc", "second").out
    lab.docker("service", "scale", "-d", "first=1")
    one, other = lab.running("second", 2)
    reaches(lab, one, own(other))
    assert not any(task["Status"].get("Err") for task in lab.tasks("second"))


def test_subnets_that_a_host_reaches_elsewhere_are_avoided_or_refused(lab: LabCluster) -> None:
    refused = lab.docker("network", "create", "-d", "overlay", "--subnet", "10.63.0.0/16", "clash", check=1)
    assert f"10.63.0.0/16 contains {ROUTE}, which node {lab[2].name} reaches by its own route on" in refused.err
    assert "clash" not in lab.docker("network", "ls").out
    late = "10.64.5.0/24"  # as of a VPN that comes up after the daemon
    lab.inside(lab[2], "ip", "route", "add", late, "via", lab[1].address)
    told = f"10.64.0.0/16 contains {late}, which node {lab[2].name} reaches by its own route on"
    wide = ("network", "create", "-d", "overlay", "--subnet", "10.64.0.0/16", "late")

    def refuses() -> bool:
        made = lab.docker(*wide, check=None)
        if made.code == 0:
            lab.docker("network", "rm", "late")
        return told in made.err

    wait(refuses, "the new route is known to the managers")
    for name in ("one", "two"):
        lab.docker("network", "create", "-d", "overlay", name)
        shown = lab.json("network", "inspect", name)[0]["IPAM"]["Config"][0]["Subnet"]
        assert not ip_network(shown).overlaps(ip_network(DEFAULT_POOL))


def test_ids_and_addresses_that_were_freed_are_used_last(lab: LabCluster) -> None:
    seen = set()
    for name in ("one", "two", "three"):
        lab.docker("network", "create", "-d", "overlay", name)
        seen.add(vni(lab, name))
        lab.docker("network", "rm", name)
    assert len(seen) == 3
    lab.docker("network", "create", "-d", "overlay", "net")
    lab.service("web", "--network", "net", "--replicas", "1")
    addresses = {own(lab.running("web", 1)[0])}
    for _ in range(2):
        before = lab.running("web", 1)[0]["ID"]
        lab.docker("service", "update", "-q", "-d", "--force", "web")
        wait(lambda before=before: all(task["ID"] != before for task in lab.tasks("web")), "a new task")
        addresses.add(own(lab.running("web", 1)[0]))
    assert len(addresses) == 3


def test_services_on_bridge_and_host_use_the_hosts_networks(lab: LabCluster) -> None:
    for name in ("bridge", "host"):
        lab.service(f"on-{name}", "--mode", "global", "--network", name)
    for task in by_host(lab, "on-host"):
        assert f"inet {lab.host_of(task).address}/" in lab.execute(task, "ip", "-4", "addr").out
    for task in by_host(lab, "on-bridge"):
        subnet = ip_network(
            lab.json("network", "inspect", "bridge", on=lab.host_of(task))[0]["IPAM"]["Config"][0]["Subnet"]
        )
        shown = lab.execute(task, "ip", "-4", "-o", "addr", "show", "eth0").out.split()
        assert ip_interface(shown[shown.index("inet") + 1]).ip in subnet
        other = next(host for host in lab.hosts if host != lab.host_of(task))
        reaches(lab, task, other.address)
