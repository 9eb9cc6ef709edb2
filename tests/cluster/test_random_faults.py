"""Random faults on a busy cluster: after each kill, crash or cut, tasks, networks and acknowledged writes are checked.

The seed is printed with a failure. ``COVEY_TEST_SEED`` and ``COVEY_TEST_ROUNDS`` repeat a run or make it longer.
"""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab import cluster as lab_cluster
from node.lab import host as machine
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
ROUNDS = int(os.environ.get("COVEY_TEST_ROUNDS", "5"))
FAULTS = ("kill", "crash", "cut", "crash everywhere", "update")
LENGTHS_SECONDS = (0.1, 1.0, 3.0)
SETTLED_SECONDS = 90.0


@pytest.fixture
def busy(images: Path) -> Iterator[LabCluster]:
    """Five hosts with a web service and a client on each."""
    with labs.running_lab("faults", 3, 2, archive=images) as lab:
        lab.docker("network", "create", "-d", "overlay", "net")
        lab.docker("secret", "create", "word", "-", stdin=b"word")
        lab.service("web", "--replicas", "6", "--network", "net", "--secret", "word", command=labs.WEB)
        lab.service("client", "--mode", "global", "--network", "net")
        lab.running("web", 6)
        lab.running("client", 5)
        yield lab


def inject(lab: LabCluster, fault: str, host: LabHost, bystander: LabHost) -> None:
    if fault == "kill":
        lab.kill(host)
    elif fault == "crash":
        lab_cluster.crash(host)
    elif fault == "cut":
        lab.cut(host)
    elif fault == "crash everywhere":
        for each in lab.hosts:
            lab_cluster.crash(each)
    else:
        lab.docker(
            "service",
            "update",
            "-d",
            "--force",
            "--update-parallelism",
            "3",
            "--update-monitor",
            "100ms",
            "web",
            on=bystander,
        )


def write(lab: LabCluster, name: str, on: LabHost) -> bool:
    """Whether the write was acknowledged."""
    try:
        return lab.request("POST", "/secrets/create", {"Name": name, "Data": "eA=="}, on=on)[0] == 201
    except OSError:
        return False


def every_client_reaches_web(lab: LabCluster) -> bool:
    script = "for i in $(seq 12); do timeout 2 wget -q -O - http://web/ || echo failed; done"
    return all(
        set(lab.execute(task, "sh", "-c", script, check=None).lines) == {"ok"} for task in lab.running("client", 5)
    )


def containers_match_tasks(lab: LabCluster) -> bool:
    """Whether the hosts run exactly the containers of the running tasks."""
    wanted = {lab.container(task) for task in (*lab.running("web", 6), *lab.running("client", 5))}
    return wanted == {container for host in lab.hosts for container in lab.covey_containers(host)}


@pytest.mark.timeout(60 + 120 * ROUNDS)
def test_the_cluster_recovers_from_random_faults_and_loses_no_acknowledged_write(busy: LabCluster) -> None:
    seed = int(os.environ.get("COVEY_TEST_SEED", "1"))
    print(f"COVEY_TEST_SEED={seed}")
    rng, acknowledged, number = random.Random(seed), set[str](), 0
    for _ in range(ROUNDS):
        fault, host = rng.choice(FAULTS), rng.choice(busy.hosts)
        bystander = rng.choice([manager for manager in busy.managers if manager != host])
        seconds = rng.choice(LENGTHS_SECONDS)
        print(f"{fault} on {host.name} for {seconds} s, seen from {bystander.name}")
        inject(busy, fault, host, bystander)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            number += 1
            if fault != "crash everywhere" and write(busy, f"w{number}", bystander):
                acknowledged.add(f"w{number}")
            time.sleep(0.02)
        dead = [each for each in busy.hosts if machine.daemon_pid(each) is None]
        if dead:
            busy.start(*dead)
        busy.heal(*busy.hosts)
        busy.wait_ready(SETTLED_SECONDS)
        labs.wait(lambda: containers_match_tasks(busy), "containers to match tasks", SETTLED_SECONDS)
        labs.wait(lambda: every_client_reaches_web(busy), "every client reaching web", SETTLED_SECONDS)
        for manager in busy.managers:
            names = {secret["Spec"]["Name"] for secret in busy.get("/secrets", on=manager)}
            assert acknowledged <= names, (manager.name, acknowledged - names)
