"""`covey network verify` on a host: it names what others changed in the kernel, by its exit status too, and repairs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, CommandResult, LabCluster, wait

pytestmark = pytest.mark.root
COVEY = labs.PYTHON_BIN / "covey"
HEADER = ["NAMESPACE", "DIFFERENCE", "ITEM", "WANTED", "FOUND"]


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    """A host without a cluster, with a container on a network of its own."""
    with labs.running_lab("verify", 1, init_cluster=False, archive=images) as running:
        running.docker(
            "network", "create", "-o", "com.docker.network.bridge.name=shop0", "--subnet", "10.77.0.0/24", "shop"
        )
        running.docker("run", "-d", "--init", "--network", "shop", "--name", "web", IMAGE, *labs.SLEEP)
        yield running


def verify(lab: LabCluster, *options: str, check: int | None = None) -> CommandResult:
    return labs.run([COVEY, "network", "verify", *options], check=check, env=lab.environment())


def inside(lab: LabCluster, command: str) -> str:
    return lab.inside(lab[1], "sh", "-ec", command).out


def test_a_host_as_it_should_be_has_no_differences(lab: LabCluster) -> None:
    assert verify(lab, check=0).out == "No differences\n"


def test_differences_are_listed_and_repaired(lab: LabCluster) -> None:
    inside(lab, "ip link set shop0 mtu 1300; ip address add 10.99.99.1/24 dev shop0")
    found = verify(lab, check=1).out.splitlines()
    assert found[0].split() == HEADER
    assert sorted(" ".join(line.split()) for line in found[1:]) == [
        "host altered device shop0 mtu 1500 mtu 1300",
        "host stray address 10.99.99.1/24 of shop0",
    ]
    again = json.loads(verify(lab, "--format", "json", check=1).out.splitlines()[0])
    assert again == {
        "Namespace": "host",
        "Kind": "stray",
        "Item": "address 10.99.99.1/24 of shop0",
        "Wanted": "",
        "Found": "",
    }
    repaired = verify(lab, "--repair", check=0)
    assert len(repaired.out.splitlines()) == 3
    assert repaired.err == "Repaired 2 differences, 0 left\n"
    assert verify(lab, check=0).out == "No differences\n"


def test_an_interface_that_a_container_lost_is_made_again(lab: LabCluster) -> None:
    pid = lab.docker("inspect", "-f", "{{.State.Pid}}", "web").out.strip()
    inside(lab, f"nsenter -t {pid} -n ip link delete eth0")
    assert verify(lab, check=1).out.count("missing") >= 3
    assert verify(lab, "--repair", check=0).code == 0
    lab.docker("exec", "web", "ping", "-c", "1", "-W", "2", "10.77.0.1")


def test_a_foreign_flush_of_the_firewall_is_repaired_within_a_second(lab: LabCluster) -> None:
    before = inside(lab, "nft -s list ruleset")
    assert "table inet covey0-bridges" in before
    inside(lab, "nft flush ruleset")
    wait(lambda: inside(lab, "nft -s list ruleset") == before, "the repair of the firewall", 1)


def test_a_restarted_daemon_finds_no_difference_and_keeps_connections(lab: LabCluster) -> None:
    before = inside(lab, "ip -o link show type veth; nft -a list ruleset")
    labs.run([COVEY, "lab", "crash", lab[1].name])
    labs.run([COVEY, "lab", "start", lab[1].name])
    wait(lambda: verify(lab).out == "No differences\n", "the daemon")
    assert inside(lab, "ip -o link show type veth; nft -a list ruleset") == before
