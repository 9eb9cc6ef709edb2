"""VXLAN from hosts that are no members of an overlay network, and of unknown networks: it does not arrive, and it is counted."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest

from node.lab import host as machine
from node.lab.layout import LabHost
from tests.support import forged_vxlan, group_peer, labs
from tests.support.labs import LabCluster, wait

pytestmark = pytest.mark.root
PORT, DATA_PORT, BROADCAST_MAC = 5400, 4789, "ff:ff:ff:ff:ff:ff"
OUTSIDE = ("192.168.77.254", "fd00:77::fe")
Ask = Callable[[str], str]


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    """Services `cast` and `plain` have tasks on the first two of three hosts."""
    with labs.running_lab("memb", 1, 2, archive=images) as running:
        running.docker("network", "create", "-d", "overlay", "--opt", "covey.multicast=true", "cast")
        running.docker("network", "create", "-d", "overlay", "plain")
        for name in ("cast", "plain"):
            away = ("--constraint", f"node.hostname!={running[3].name}")
            running.service(name, "--mode", "global", "--network", name, *away)
        yield running


def tasks_of(lab: LabCluster, service: str) -> list[dict[str, Any]]:
    return sorted(lab.running(service, 2), key=lambda task: lab.host_of(task).name)


def own(task: dict[str, Any]) -> str:
    return str(ip_interface(task["NetworksAttachments"][0]["Addresses"][0]).ip)


def vni(lab: LabCluster, network: str) -> str:
    options = lab.json("network", "inspect", network)[0]["Options"]
    return str(options["com.docker.network.driver.overlay.vxlanid_list"])


@contextlib.contextmanager
def listener(lab: LabCluster, task: dict[str, Any]) -> Iterator[Ask]:
    host = lab.host_of(task)
    pid = str(lab.covey_containers(host)[lab.container(task)])
    inside = ["nsenter", "-t", pid, "-n", sys.executable, str(group_peer.__file__), str(PORT)]
    with labs.conversation(machine.command_inside(host, inside)) as ask:
        yield ask


def heard(ask: Ask) -> list[str]:
    return [str(each) for each in json.loads(ask("heard"))]


def dropped(lab: LabCluster, host: LabHost) -> dict[str, int]:
    found: dict[str, int] = lab.get("/covey/network/verify", on=host)["DroppedPackets"]
    return found


def forge(lab: LabCluster, sender: LabHost | None, target: str, *packet: str) -> None:
    """Send a forged packet to a host's address, from a host or from outside the cluster."""
    command = (sys.executable, str(forged_vxlan.__file__), target, str(DATA_PORT), *packet)
    if sender is None:
        lab.outside(*command)
    else:
        lab.inside(sender, *command)


@pytest.mark.parametrize("network", ["cast", "plain"])
def test_packets_of_members_arrive_and_those_of_others_are_counted(lab: LabCluster, network: str) -> None:
    first, second = tasks_of(lab, network)
    here, member = lab.host_of(first), lab.host_of(second)
    mac = lab.execute(first, "cat", "/sys/class/net/eth0/address").out.strip()
    to = (BROADCAST_MAC, "255.255.255.255") if network == "cast" else (mac, own(first))
    with listener(lab, first) as ask:
        known = vni(lab, network)

        def member_arrives() -> bool:
            forge(lab, member, here.address, known, *to, own(second), "member")
            return "member" in heard(ask)

        wait(member_arrives, "the packet of a member")
        before = dropped(lab, here)["NotFromMembers"]
        forge(lab, None, here.address, known, *to, own(second), "outside")
        forge(lab, None, here.address6, known, *to, own(second), "outside6")
        forge(lab, lab[3], here.address, known, *to, own(second), "other-node")
        wait(lambda: dropped(lab, here)["NotFromMembers"] >= before + 3, "three packets more")
        forge(lab, member, here.address, known, *to, own(second), "last")
        wait(lambda: "last" in heard(ask), "the packet that was sent last")
        assert set(heard(ask)) == {"member", "last"}


def test_unknown_networks_and_the_mesh_are_counted_too_and_told(lab: LabCluster) -> None:
    first = tasks_of(lab, "plain")[0]
    here = lab.host_of(first)
    before = dropped(lab, here)
    packet = (BROADCAST_MAC, own(first), own(first), "unknown")
    forge(lab, None, here.address, "77777", *packet)
    forge(lab, None, here.address, vni(lab, "ingress"), *packet)
    wait(lambda: dropped(lab, here)["UnknownNetworks"] > before["UnknownNetworks"], "the unknown network's")
    wait(lambda: dropped(lab, here)["NotFromMembers"] > before["NotFromMembers"], "the mesh's")
    told = labs.run([labs.PYTHON_BIN / "covey", "network", "verify"], env=lab.environment(lab[1]))
    assert f"{here.name}: {dropped(lab, here)['NotFromMembers']} VXLAN packets were dropped" in told.err


def reaches_first(lab: LabCluster) -> None:
    """Wait until the task on the third host reaches that on the first."""

    def answered() -> bool:
        tasks = {lab.host_of(task).name: task for task in lab.running("plain", 3)}
        ping = ("ping", "-c1", "-W1", own(tasks[lab[1].name]))
        return lab.execute(tasks[lab[3].name], *ping, check=None).code == 0

    wait(answered, "an answer")


def test_a_host_is_a_member_while_it_has_a_task_and_a_lost_element_is_repaired(lab: LabCluster) -> None:
    first = tasks_of(lab, "plain")[0]
    here = lab.host_of(first)
    table = next(name for name in lab.inside(here, "nft", "list", "tables").out.split() if name.endswith("-members"))

    def members() -> set[str]:
        listed = lab.inside(here, "nft", "list", "set", "inet", table, "members4").out
        number = f"{int(vni(lab, 'plain')):#x}"
        return {other.address for other in lab.hosts if f"{other.address} . {number}" in listed}

    assert members() == {lab[2].address}
    lab.docker("service", "update", "-q", "-d", "--constraint-rm", f"node.hostname!={lab[3].name}", "plain")
    wait(lambda: members() == {lab[2].address, lab[3].address}, "the third host")
    reaches_first(lab)
    lab.inside(here, "nft", "flush", "set", "inet", table, "members4")
    wait(lambda: members() == {lab[2].address, lab[3].address}, "the repair", seconds=5)
    reaches_first(lab)
    lab.docker("service", "update", "-q", "-d", "--constraint-add", f"node.hostname!={lab[3].name}", "plain")
    wait(lambda: members() == {lab[2].address}, "the third host to leave")
