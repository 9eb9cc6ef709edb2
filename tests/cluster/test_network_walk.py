"""A seeded random walk of a cluster's networks: users change services, containers and networks on three hosts while hosts are cut off,
daemons are killed and others break the kernels' state. Every few steps nothing differs on any host, and containers reach each other.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from pathlib import Path
from typing import Any

import pytest

from node.lab import cluster
from node.lab import host as machine
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import IMAGE, WEB, LabCluster, wait
from tests.support.network_faults import HOST_FAULTS, fault_script

pytestmark = pytest.mark.root
SEGMENTS, ROUNDS, CHANGES = 9, 5, 2  # 135 steps: two changes and a fault each round; and the kills and cuts
NETWORKS = ("n0", "n1", "n2")
SERVICES = ("s0", "s1", "s2")
CONTAINERS = ("c0", "c1", "c2")
FAULTS = (
    *HOST_FAULTS,
    "ip link set covey0-wg0 down mtu 1300",
    "ip address add fd99::1/64 dev covey0-wg0",
    "ip -6 route flush dev covey0-wg0",
    "nft delete table inet covey0-encryption",
    "nft add rule inet covey0-mesh foreign drop",
)
CHANGE_KINDS = (
    "set service", "set service", "set service", "set service", "remove service", "kill task", "kill task", "run", "run",
    "connect", "connect", "disconnect", "remove container", "create network", "remove network",
)  # fmt: skip
STEP_SECONDS = 2.0
FETCH = "for n in 1 2 3 4 5 6 7 8 9 failed; do timeout 2 wget -q -O - http://{0}/ && break || sleep 0.2; done; [ $n != failed ] || echo failed {0}"
"""A server listens soon after its task runs."""


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("nwalk", 1, 2, archive=images) as running:
        yield running


class Walk:
    """The changes. Names and hosts are fixed, so that a seed repeats the sequence."""

    def __init__(self, lab: LabCluster, dice: random.Random) -> None:
        self.lab, self.dice = lab, dice

    def change(self) -> tuple[str, Callable[[], Any]]:
        """What a user asks for. It may be refused, because of what was asked before or what others broke."""
        dice = self.dice
        kind, number, network = dice.choice(CHANGE_KINDS), dice.randrange(3), dice.choice(NETWORKS)
        host, replicas, publish = self.lab.hosts[number], dice.randrange(1, 4), dice.random() < 0.5
        service, container = SERVICES[number], CONTAINERS[number]
        request = self.lab.request
        actions: dict[str, Callable[[], Any]] = {
            "set service": lambda: self.set_service(service, network, replicas, publish),
            "remove service": lambda: request("DELETE", f"/services/{service}"),
            "kill task": lambda: self.kill_task(host, replicas),
            "run": lambda: self.run(container, host, network),
            "connect": lambda: request("POST", f"/networks/{network}/connect", {"Container": container}, on=host),
            "disconnect": lambda: request(
                "POST", f"/networks/{network}/disconnect", {"Container": container, "Force": True}, on=host
            ),
            "remove container": lambda: request("DELETE", f"/containers/{container}?force=1", on=host),
            "create network": lambda: create_network(self.lab, network),
            "remove network": lambda: request("DELETE", f"/networks/{network}"),
        }
        return f"{kind} {number} {network} {replicas} {publish}", actions[kind]

    def set_service(self, service: str, network: str, replicas: int, publish: bool) -> tuple[int, Any]:
        """Create it, or give it other replicas, ports and networks; then its tasks move."""
        status, found = self.lab.request("GET", f"/services/{service}")
        body = spec(service, network, replicas, publish)
        if status == 404:
            return self.lab.request("POST", "/services/create", body)
        if status != 200:
            return status, found
        version = found["Version"]["Index"]
        return self.lab.request("POST", f"/services/{found['ID']}/update?version={version}", body)

    def kill_task(self, host: LabHost, pick: int) -> tuple[int, Any]:
        found = [one["Id"] for one in self.lab.get("/containers/json", on=host) if one["Names"][0][1] == "s"]
        if not found:
            return 404, "no task"
        return self.lab.request("POST", f"/containers/{sorted(found)[pick % len(found)]}/kill", on=host)

    def run(self, name: str, host: LabHost, network: str) -> tuple[int, Any]:
        body = {"Image": IMAGE, "Cmd": list(WEB), "HostConfig": {"Init": True, "NetworkMode": network}}
        self.lab.request("DELETE", f"/containers/{name}?force=1", on=host)
        self.lab.request("POST", f"/containers/create?name={name}", body, on=host)
        return self.lab.request("POST", f"/containers/{name}/start", on=host)


def spec(name: str, network: str, replicas: int, publish: bool) -> dict[str, Any]:
    ports = [{"TargetPort": 80, "PublishedPort": 8080 + SERVICES.index(name)}] if publish else []
    return {
        "Name": name,
        "TaskTemplate": {
            "ContainerSpec": {"Image": IMAGE, "Command": list(WEB), "Init": True, "StopSignal": "SIGKILL"},
            "Networks": [{"Target": network}],
            "RestartPolicy": {"Condition": "any", "Delay": 100_000_000},
        },
        "Mode": {"Replicated": {"Replicas": replicas}},
        "UpdateConfig": {"Parallelism": 0, "Monitor": 10_000_000},
        "EndpointSpec": {"Ports": ports},
    }  # fmt: skip


def create_network(lab: LabCluster, name: str) -> tuple[int, Any]:
    """The second is dual stack, the third is encrypted."""
    body: dict[str, Any] = {"Name": name, "Driver": "overlay", "Attachable": True}
    if name == "n1":
        body |= {"EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "10.71.0.0/24"}, {"Subnet": "fd71::/64"}]}}
    if name == "n2":
        body |= {"Options": {"encrypted": "true"}}
    return lab.request("POST", "/networks/create", body)


class Disturbance:
    """A host without its switch, or without its daemon, for a part of a segment; some cuts last until the managers notice them."""

    def __init__(self, lab: LabCluster, dice: random.Random, segment: int) -> None:
        self.lab, self.host = lab, dice.choice(lab.hosts)
        self.kind = ("cut", "crash", "none")[segment % 3]
        self.begins, self.ends = sorted(dice.sample(range(ROUNDS), 2))
        self.is_noticed = dice.random() < 0.5

    def at(self, number: int) -> None:
        if number == self.begins:
            if self.kind == "cut":
                self.lab.cut(self.host)
            elif self.kind == "crash":
                cluster.crash(self.host)
        if number == self.ends:
            if self.kind == "cut" and self.is_noticed and self.host != self.lab[1]:
                wait(
                    lambda: self.lab.nodes()[self.host.name]["Status"]["State"] != "ready",
                    "the managers to notice the cut",
                )
            self.heal()

    def heal(self) -> None:
        if self.kind == "crash" and machine.daemon_pid(self.host) is None:
            self.lab.start(self.host)
        self.lab.heal(*self.lab.hosts)


@pytest.mark.timeout(240)
def test_during_a_random_walk_nothing_differs_on_any_host_and_containers_reach_each_other(lab: LabCluster) -> None:
    seed = int(os.environ.get("COVEY_TEST_SEED", "") or secrets.randbelow(1 << 32))
    print(f"COVEY_TEST_SEED={seed}")
    dice = random.Random(seed)
    walk = Walk(lab, dice)
    answers: list[Any] = []
    reached = 0
    with ThreadPoolExecutor(24) as pool:
        for segment in range(SEGMENTS):
            for network in NETWORKS:
                create_network(lab, network)
            disturbance = Disturbance(lab, dice, segment)
            print(f"segment {segment}: {disturbance.kind} {disturbance.host.name}")
            running: list[Future[Any]] = []
            for number in range(ROUNDS):
                disturbance.at(number)
                host, script = dice.choice(lab.hosts), fault_script(dice, 1, FAULTS)
                new = [pool.submit(lab.inside, host, "sh", "-c", script)]
                print(f"{host.name}: {script}")
                for _ in range(CHANGES):
                    said, action = walk.change()
                    print(said)
                    new.append(pool.submit(action))
                running += new
                wait_for_futures(new, STEP_SECONDS)
            disturbance.heal()
            answers += [one.result() for one in running if not one.exception()]
            lab.wait_ready()
            settle(lab)
            assert_nothing_differs(lab)
            reached += reach(lab)
    broken = sum(answer.out.count("broken") for answer in answers if isinstance(answer, labs.CommandResult))
    changed = sum(answer[0] < 300 for answer in answers if isinstance(answer, tuple))
    print(f"{broken} faults found something to break, {changed} changes succeeded, {reached} connections were made")
    assert broken > SEGMENTS / 2
    assert changed > SEGMENTS * 2
    assert reached > SEGMENTS


def settle(lab: LabCluster) -> None:
    """Wait until each service has its tasks, and none is on its way to another state."""

    def unsettled() -> list[str]:
        tasks = lab.get("/tasks")
        services = {one["ID"]: one for one in lab.get("/services")}
        meant = {key: one["Spec"]["Mode"]["Replicated"]["Replicas"] for key, one in services.items()}
        run = [each for each in tasks if each["DesiredState"] == "running" and each["Status"]["State"] == "running"]
        found = [
            f"{services[key]['Spec']['Name']} lacks tasks"
            for key, number in meant.items()
            if number != sum(each["ServiceID"] == key for each in run)
        ]
        ending = [each for each in tasks if each["DesiredState"] != "running"]
        return found + [each["ID"] for each in ending if each["Status"]["State"] in {"running", "starting"}]

    last: list[str] = []

    def settled() -> bool:
        last[:] = unsettled()
        return not last

    try:
        wait(settled, "the tasks", 45)
    except AssertionError as error:
        listed = "\n".join(
            f"{each['ID']} {each['ServiceID']} {each.get('Slot')} {each['DesiredState']} {each['Status']}"
            for each in lab.get("/tasks")
        )
        raise AssertionError(f"{error}: {last}\n{listed}") from None


def assert_nothing_differs(lab: LabCluster) -> None:
    """Within two seconds, once all nodes have their sessions again."""
    wait(lambda: not any(error for _, error, _ in check(lab, "verify")), "an answer of all nodes", 10)
    began = time.monotonic()
    while left := check(lab, "repair"):
        assert time.monotonic() - began < 2, left
    assert check(lab, "verify") == []
    assert time.monotonic() - began < 3


def check(lab: LabCluster, verb: str) -> list[Any]:
    """The differences of all nodes; after a repair those that are left."""
    method, key = ("POST", "Remaining") if verb == "repair" else ("GET", "Differences")
    status, answer = lab.request(method, f"/covey/cluster/network/{verb}", on=lab[1])
    assert status == 200, answer
    nodes = answer["Nodes"]
    assert len(nodes) == len(lab.hosts)
    return [(one["Hostname"], one["Error"], one[key]) for one in nodes if one["Error"] or one[key]]


def reach(lab: LabCluster) -> int:
    """Connect from a container of each host to services, tasks and containers on its networks, and from outside to published ports.
    Returns how many connections were made.
    """
    targets: dict[str, set[str]] = {}
    for task in lab.get("/tasks", desired_state=["running"]):
        for each in task["NetworksAttachments"]:
            address = each["Addresses"][0].partition("/")[0]
            targets.setdefault(each["Network"]["ID"], set()).add(address)
    services = lab.get("/services")
    for one in services:
        for each in one["Spec"]["TaskTemplate"].get("Networks", ()):
            targets.setdefault(each["Target"], set()).add(one["Spec"]["Name"])
    calls = 0
    for host in lab.hosts:
        for container in lab.get("/containers/json", on=host)[:2]:
            ids = {each["NetworkID"] for each in container["NetworkSettings"]["Networks"].values()}
            addresses = sorted(set[str]().union(*(targets.get(each, set()) for each in ids)))
            script = "\n".join(FETCH.format(each) for each in addresses)
            said = lab.docker("exec", container["Id"], "sh", "-c", script, on=host).lines
            assert said == ["ok"] * len(addresses), (host.name, container["Names"], addresses, said)
            calls += len(addresses)
    ports = [port["PublishedPort"] for one in services for port in one["Endpoint"].get("Ports", ())]
    for host in lab.hosts:
        for port in ports:
            said = lab.outside("sh", "-c", FETCH.format(f"{host.address}:{port}")).lines
            assert said == ["ok"], (host.name, port)
            calls += 1
    return calls
