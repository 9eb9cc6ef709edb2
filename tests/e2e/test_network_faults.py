"""A seeded random walk of a real daemon: containers, networks and services come and go while others break the kernel's state and the
daemon is killed; then nothing differs within two seconds, and containers reach each other by name.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster, wait
from tests.support.network_faults import HOST_FAULTS as COMMON_FAULTS
from tests.support.network_faults import fault_script

pytestmark = pytest.mark.root
ROUNDS, FAULTS, CHANGES = 84, 4, 2  # 504 steps and the kills
KILLED_AFTER = {28, 56}
CONTAINERS = [f"c{number}" for number in range(4)]
BRIDGES = [f"w{number}" for number in range(3)]
NETWORKS = [*BRIDGES, "over"]
HOST_FAULTS = (
    *COMMON_FAULTS,
    "ip link delete br-w0",
    "ip link set br-w1 down mtu 1300",
    "ip address flush dev br-w2",
    "ip address add 10.99.0.1/24 dev br-w0",
    "ip neigh add 10.77.0.9 lladdr 02:42:00:00:00:99 dev br-w0 nud permanent",
)


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("walk", 1, archive=images) as running:
        yield running


class Walk:
    """The steps. Names are fixed, so that a seed repeats the sequence."""

    def __init__(self, lab: LabCluster, dice: random.Random) -> None:
        self.lab, self.dice = lab, dice

    def changes(self) -> list[Callable[[], Any]]:
        """What users ask the daemon for. It may refuse what others just broke."""
        return [self._change() for _ in range(CHANGES)]

    def _change(self) -> Callable[[], Any]:
        kind = self.dice.choice(
            (
                "run",
                "run",
                "remove",
                "kill",
                "connect",
                "connect",
                "disconnect",
                "create",
                "create",
                "delete",
                "service",
            )
        )
        name, network = self.dice.choice(CONTAINERS), self.dice.choice(NETWORKS)
        if kind == "service":
            publish = self.dice.random() < 0.6
            return (
                (lambda: create_service(self.lab)) if publish else lambda: self.lab.request("DELETE", "/services/web")
            )
        actions: dict[str, Callable[[], Any]] = {
            "run": lambda: run_container(self.lab, name, network),
            "remove": lambda: self.lab.request("DELETE", f"/containers/{name}?force=1"),
            "kill": lambda: self.lab.request("POST", f"/containers/{name}/kill"),
            "connect": lambda: self.lab.request("POST", f"/networks/{network}/connect", {"Container": name}),
            "disconnect": lambda: self.lab.request(
                "POST", f"/networks/{network}/disconnect", {"Container": name, "Force": True}
            ),
            "create": lambda: create_network(self.lab, network),
            "delete": lambda: self.lab.request("DELETE", f"/networks/{network}"),
        }
        return actions[kind]


def run_container(lab: LabCluster, name: str, network: str) -> tuple[int, Any]:
    number = CONTAINERS.index(name)
    body = {
        "Image": IMAGE, "Cmd": labs.SLEEP, "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"Init": True, "NetworkMode": network, "PortBindings": {"80/tcp": [{"HostPort": str(9000 + number)}]}},
    }  # fmt: skip
    lab.request("POST", f"/containers/create?name={name}", body)
    return lab.request("POST", f"/containers/{name}/start")


def create_network(lab: LabCluster, name: str) -> tuple[int, Any]:
    if name == "over":
        return lab.request("POST", "/networks/create", {"Name": name, "Driver": "overlay", "Attachable": True})
    number = BRIDGES.index(name)
    subnets = [{"Subnet": f"10.7{number}.0.0/24"}, {"Subnet": f"fd7{number}::/64"}]
    options = {"com.docker.network.bridge.name": f"br-{name}"}
    return lab.request(
        "POST", "/networks/create", {"Name": name, "EnableIPv6": True, "IPAM": {"Config": subnets}, "Options": options}
    )


def create_service(lab: LabCluster) -> tuple[int, Any]:
    spec = {
        "Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": IMAGE, "Command": labs.SLEEP, "Init": True}},
        "EndpointSpec": {"Ports": [{"TargetPort": 80, "PublishedPort": 8080}]},
    }  # fmt: skip
    return lab.request("POST", "/services/create", spec)


def differences(lab: LabCluster, *, repair: bool) -> Sequence[Any]:
    method, path = ("POST", "repair") if repair else ("GET", "verify")
    status, answer = lab.request(method, f"/covey/network/{path}")
    assert status == 200, answer
    return list(answer["Remaining" if repair else "Differences"])


def test_after_a_random_walk_nothing_differs_and_containers_reach_each_other(lab: LabCluster) -> None:
    seed = int(os.environ.get("COVEY_TEST_SEED", "") or secrets.randbelow(1 << 32))
    print(f"COVEY_TEST_SEED={seed}")
    walk = Walk(lab, random.Random(seed))
    for network in NETWORKS:
        create_network(lab, network)
    host, answers = lab[1], list[Any]()
    with ThreadPoolExecutor(CHANGES + 1) as pool:
        for number in range(ROUNDS):
            script, changes = fault_script(walk.dice, FAULTS, HOST_FAULTS), walk.changes()
            running = [pool.submit(lab.inside, host, "sh", "-c", script), *(pool.submit(change) for change in changes)]
            if number in KILLED_AFTER:
                lab.kill(host)
            for one in running:
                if number not in KILLED_AFTER:
                    answers.append(one.result())
                else:
                    one.exception()  # the daemon was killed under it
            if number in KILLED_AFTER:
                lab.start(host)
                lab.wait_ready()
    broken = sum(answer.out.count("broken") for answer in answers if isinstance(answer, labs.CommandResult))
    changed = sum(answer[0] < 300 for answer in answers if isinstance(answer, tuple))
    print(f"{broken} faults found something to break, {changed} changes succeeded")
    assert broken > ROUNDS
    assert changed > ROUNDS / 3
    settle(lab)
    began = time.monotonic()
    while left := differences(lab, repair=True):
        assert time.monotonic() - began < 2, left
    assert differences(lab, repair=False) == []
    assert_names_reach(lab)
    remove_everything(lab)
    assert differences(lab, repair=False) == []
    devices = lab.inside(host, "ip", "-br", "link", "show").out
    assert "br-w" not in devices, devices


def settle(lab: LabCluster) -> None:
    """Wait until no task is on its way to another state."""

    def settled() -> bool:
        tasks = lab.get("/tasks")
        return all(
            task["Status"]["State"] == "running"
            if task["DesiredState"] == "running"
            else task["Status"]["State"] not in {"running", "starting"}
            for task in tasks
        )

    wait(settled, "the tasks")


def assert_names_reach(lab: LabCluster) -> None:
    """Each container of the walk reaches those that share a network of users with it."""
    members: dict[str, set[str]] = {}
    for one in lab.get("/containers/json"):
        for network in one["NetworkSettings"]["Networks"]:
            if one["Names"][0].strip("/") in CONTAINERS and network in NETWORKS:
                members.setdefault(network, set()).add(one["Names"][0].strip("/"))

    for names in members.values():
        for name in sorted(names):
            for other in sorted(names - {name}):
                lab.docker("exec", name, "ping", "-c", "1", "-W", "2", other)


def remove_everything(lab: LabCluster) -> None:
    lab.request("DELETE", "/services/web")
    for name in CONTAINERS:
        lab.request("DELETE", f"/containers/{name}?force=1")
    for network in NETWORKS:
        lab.request("DELETE", f"/networks/{network}")
    wait(lambda: not {one["Name"] for one in lab.get("/networks")} & set(NETWORKS), "the removal of the networks")
    wait(lambda: lab.get("/containers/json?all=1") == [], "the removal of the containers")
