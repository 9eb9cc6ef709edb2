"""Broadcasts and multicasts on overlay networks of three hosts: they cross where the network has `covey.multicast`, and nowhere else."""

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
from tests.support import group_peer, labs
from tests.support.labs import LabCluster, wait

pytestmark = pytest.mark.root
PEER = str(Path(group_peer.__file__))
PORT = 5400
GROUPS = ("239.1.2.3", "ff15::77")
NETWORKS = {
    "casts": ("--opt", "covey.multicast=true"),
    "sealed": ("--opt", "covey.multicast=true", "--opt", "encrypted"),
    "plain": (),
}
Ask = Callable[[str], str]


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("cast", 1, 2, archive=images) as running:
        for name, options in NETWORKS.items():
            running.docker("network", "create", "-d", "overlay", "--ipv6", *options, name)
            running.service(name, "--mode", "global", "--network", name)
        for name in NETWORKS:
            running.running(name, 3)
        yield running


def tasks_of(lab: LabCluster, service: str, count: int = 3) -> list[dict[str, Any]]:
    return sorted(lab.running(service, count), key=lambda task: lab.host_of(task).name)


def addresses(task: dict[str, Any]) -> list[str]:
    return [str(each) for each in task["NetworksAttachments"][0]["Addresses"]]


def own(task: dict[str, Any]) -> str:
    return next(str(ip_interface(each).ip) for each in addresses(task) if ":" not in each)


@contextlib.contextmanager
def peers(lab: LabCluster, tasks: list[dict[str, Any]]) -> Iterator[list[Ask]]:
    """A sender and listener in the network of each task's container, each known to reach the others."""
    with contextlib.ExitStack() as stack:
        found = []
        for task in tasks:
            host = lab.host_of(task)
            pid = str(lab.covey_containers(host)[lab.container(task)])
            command = machine.command_inside(
                host, ["nsenter", "-t", pid, "-n", sys.executable, PEER, str(PORT), *GROUPS]
            )
            found.append(stack.enter_context(labs.conversation(command)))
        for number, task in enumerate(tasks[1:], 1):

            def reached(number: int = number, task: dict[str, Any] = task) -> bool:
                found[0](f"send {own(task)} hello")
                return "hello" in heard(found[number])

            wait(reached, "a datagram to one address")
        yield found


def heard(ask: Ask) -> list[str]:
    return [str(each) for each in json.loads(ask("heard"))]


def cast(ask: Ask, task: dict[str, Any]) -> set[str]:
    """Send to everybody in every way. Returns the texts."""
    subnet = next(ip_interface(each).network for each in addresses(task) if ":" not in each)
    for destination in ("255.255.255.255", str(subnet.broadcast_address), *GROUPS):
        ask(f"send {destination} to-{destination}")
    return {f"to-{each}" for each in ("255.255.255.255", str(subnet.broadcast_address), *GROUPS)}


def in_sandbox(lab: LabCluster, host: LabHost, network: str, *command: str) -> list[str]:
    """Run a command in the sandbox of a network on a host."""
    identity = lab.json("network", "inspect", network)[0]["Id"]
    search = ("find", "/", "-path", "/proc", "-prune", "-o", "-path", f"*/netns/networks/{identity}", "-print", "-quit")
    (path,) = lab.inside(host, *search, check=None).lines
    return lab.inside(host, "nsenter", f"--net={path}", *command).lines


def replicas(lab: LabCluster, host: LabHost, network: str) -> set[str]:
    """The hosts that a host sends copies to."""
    shown = in_sandbox(lab, host, network, "bridge", "fdb", "show", "dev", "vxlan0")
    return {line.split()[line.split().index("dst") + 1] for line in shown if line.startswith("00:00:00:00:00:00 ")}


@pytest.mark.parametrize("network", ["casts", "sealed"])
def test_every_container_hears_one_copy_of_each(lab: LabCluster, network: str) -> None:
    tasks = tasks_of(lab, network)
    with peers(lab, tasks) as found:
        wanted = cast(found[0], tasks[0])
        for ask in found[1:]:
            wait(lambda ask=ask: wanted <= set(heard(ask)), "all that was sent to everybody")
            assert sorted(each for each in heard(ask) if each != "hello") == sorted(wanted)


def test_without_the_option_nothing_crosses_and_others_networks_hear_nothing(lab: LabCluster) -> None:
    plain, casts = tasks_of(lab, "plain"), tasks_of(lab, "casts")
    assert not replicas(lab, lab[1], "plain")
    with peers(lab, plain) as found, peers(lab, casts) as others:
        cast(found[0], plain[0])
        for task, ask in zip(plain[1:], found[1:], strict=True):
            found[0](f"send {own(task)} last")
            wait(lambda ask=ask: "last" in heard(ask), "what was sent last")
            assert set(heard(ask)) == {"hello", "last"}
        wanted = cast(others[0], casts[0])
        wait(lambda: wanted <= set(heard(others[1])), "the other network's")
        assert not set(heard(found[1])) - {"hello", "last"}
        assert all(heard(ask).count("to-239.1.2.3") == 1 for ask in others[1:])


def test_a_missing_entry_is_named_and_repaired(lab: LabCluster) -> None:
    assert lab.json("network", "inspect", "casts")[0]["Options"]["covey.multicast"] == "true"
    for host in lab.hosts:
        others = {other.address for other in lab.hosts if other is not host}
        wait(lambda host=host, others=others: replicas(lab, host, "casts") == others, "the hosts of the network")
        wait(lambda host=host: not lab.get("/covey/network/verify", on=host)["Differences"], "nothing differs")
    gone = lab[2].address
    in_sandbox(lab, lab[1], "casts", "bridge", "fdb", "del", "00:00:00:00:00:00", "dev", "vxlan0", "dst", gone)
    differences = lab.get("/covey/network/verify", on=lab[1])["Differences"]
    assert f"forwarding entry 00:00:00:00:00:00 to {gone} of vxlan0" in str(differences)
    labs.run([labs.PYTHON_BIN / "covey", "network", "verify", "--repair"], check=None, env=lab.environment(lab[1]))
    wait(lambda: gone in replicas(lab, lab[1], "casts"), "the repair", seconds=10)


def test_a_host_without_endpoints_gets_no_copies(lab: LabCluster) -> None:
    lab.docker("service", "update", "-q", "-d", "--constraint-add", f"node.hostname!={lab[3].name}", "casts")
    wait(lambda: replicas(lab, lab[1], "casts") == {lab[2].address}, "the host to leave the list")
    lab.docker("service", "update", "-q", "-d", "--constraint-rm", f"node.hostname!={lab[3].name}", "casts")
    wait(lambda: replicas(lab, lab[1], "casts") == {lab[2].address, lab[3].address}, "the host to come back")
