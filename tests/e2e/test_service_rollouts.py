"""Rollouts on a lab: drains under load, stop and start, restart, canaries and rebalances, through covey and the docker client."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.lab.layout import LabHost
from tests.support import http_load_client, labs
from tests.support.labs import CommandResult, LabCluster, wait

pytestmark = pytest.mark.root
COVEY = labs.PYTHON_BIN / "covey"
QUICK = ("--stop-signal", "SIGKILL", "--update-monitor", "200ms")
PORT = 8085


@pytest.fixture(scope="module")
def shared(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("rollout", 1, 2, archive=images) as running:
        yield running


@pytest.fixture
def lab(shared: LabCluster) -> Iterator[LabCluster]:
    """Three nodes that take tasks, and nothing on them."""
    yield shared
    for host in shared.hosts:
        shared.docker("node", "update", "--availability", "active", host.name)
    shared.remove_all_objects()


def covey(lab: LabCluster, *arguments: str, check: int | None = 0) -> CommandResult:
    return labs.run([COVEY, *arguments], check=check, env=lab.environment())


def status(lab: LabCluster, service: str = "web") -> dict[str, Any]:
    found: dict[str, Any] = lab.get(f"/services/{service}").get("UpdateStatus") or {}
    return found


def replicas(lab: LabCluster, service: str = "web") -> str:
    return covey(lab, "service", "ls", "--filter", f"name={service}", "--format", "{{.Replicas}}").out.strip()


def environments(lab: LabCluster) -> Counter[str]:
    """The running tasks of the service by their variable V."""
    tasks = lab.tasks("web", state="running")
    return Counter([(task["Spec"]["ContainerSpec"].get("Env") or [""])[0] for task in tasks])


def spread(lab: LabCluster) -> list[int]:
    counts = Counter([task["NodeID"] for task in lab.tasks("web", state="running")])
    return sorted([counts[lab.node_id(host)] for host in lab.hosts])


def test_a_start_first_service_answers_every_request_while_its_node_drains(lab: LabCluster) -> None:
    """A client asks the two other nodes all the time. The replacement is RUNNING only once its health check has passed."""
    options = ("--replicas", "2", "--update-order", "start-first", "--publish", f"{PORT}:80", "--init")
    health = ("--health-cmd", "wget -q -O - http://127.0.0.1/", "--health-interval", "300ms", "--health-retries", "20")
    covey(lab, "service", "create", "-q", "--name", "web", *options, *health, labs.IMAGE, *labs.WEB)
    drained = next(host for host in lab.workers if lab.node_id(host) in {task["NodeID"] for task in lab.tasks("web")})
    others = [host.address for host in lab.hosts if host is not drained]
    command = ["ip", "netns", "exec", lab.lab.switch, sys.executable, http_load_client.__file__, str(PORT), *others]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "serves\n"
        said = covey(lab, "node", "drain", drained.name, "--wait").lines
        assert client.stdin is not None
        client.stdin.close()
        *failed, count = client.stdout.read().splitlines()
    assert not failed, f"{len(failed)} of {count} requests failed: {failed[:5]}"
    assert int(count) > 50
    assert said[0] == drained.name
    assert any("1 task left: web." in line and "until its replacement runs" in line for line in said), said
    assert said[-1] == f"{drained.name}: drained"
    assert lab.node_id(drained) not in {task["NodeID"] for task in lab.running("web", 2)}


def test_a_drain_without_a_place_says_so_and_ends_at_its_timeout(lab: LabCluster) -> None:
    only = lab.workers[0]
    options = ("--update-order", "start-first", "--constraint", f"node.hostname=={only.name}")
    covey(lab, "service", "create", "-q", "--name", "web", *QUICK, *options, labs.IMAGE, *labs.SLEEP)
    said = covey(lab, "node", "drain", only.name, "--wait", "--timeout", "3s").lines
    assert any("web.1 stays, its replacement is pending: no suitable node" in line for line in said), said
    assert said[-1] == f"{only.name}: drained"
    refused = lab.docker("node", "update", "--label-add", "covey.drain.timeout=soon", only.name, check=1)
    assert "label covey.drain.timeout: invalid duration 'soon'" in refused.err


def test_a_stopped_service_keeps_its_replicas_and_starts_with_them(lab: LabCluster) -> None:
    covey(lab, "service", "create", "-q", "--name", "web", "--replicas", "2", *QUICK, labs.IMAGE, *labs.SLEEP)
    assert covey(lab, "service", "stop", "web").lines[-1] == "web: 0 of 0 tasks running"
    assert replicas(lab) == "0/2 (stopped)"
    assert not lab.tasks("web", state="running")
    lab.docker("service", "update", "-d", "--replicas", "3", "web")
    assert replicas(lab) == "0/3 (stopped)"
    assert "is stopped" in covey(lab, "service", "restart", "web", check=1).err
    assert "is stopped" in covey(lab, "service", "rebalance", "web", check=1).err
    covey(lab, "service", "start", "web")
    assert replicas(lab) == "3/3"
    before = {task["ID"] for task in lab.tasks("web", state="running")}
    covey(lab, "service", "restart", "web")
    assert not {task["ID"] for task in lab.running("web", 3)} & before
    assert status(lab)["State"] == "completed"


def test_canaries_wait_for_a_promotion_and_can_be_rolled_back(lab: LabCluster) -> None:
    create = ("service", "create", "-q", "--name", "web", "--replicas", "3", "--update-canary", "1", "--env", "V=1")
    covey(lab, *create, *QUICK, labs.IMAGE, *labs.SLEEP)
    assert "no update that waits" in covey(lab, "service", "promote", "web", check=1).err
    said = covey(lab, "service", "update", "--env-add", "V=2", "web").out
    assert "canary: 1 of 3 tasks run the new spec; go on with: covey service promote web" in said
    assert (status(lab)["State"], status(lab)["AwaitsPromotion"]) == ("paused", True)
    assert environments(lab) == {"V=1": 2, "V=2": 1}
    covey(lab, "service", "rollback", "-q", "web")
    assert environments(lab) == {"V=1": 3}
    covey(lab, "service", "update", "-q", "--env-add", "V=3", "web")
    covey(lab, "service", "promote", "-q", "web")
    assert environments(lab) == {"V=3": 3}
    assert status(lab)["State"] == "completed"
    covey(lab, "service", "update", "-q", "--env-add", "V=4", "--update-canary-monitor", "1s", "web")
    assert environments(lab) == {"V=4": 3}, "healthy canaries promote the update"
    shown = json.loads(lab.docker("service", "inspect", "--format", "{{json .Spec.Labels}}", "web").out)
    assert shown == {"covey.update.canary": "1", "covey.update.canary-monitor": "1s"}
    refused = lab.docker("service", "update", "-d", "--label-add", "covey.update.canary=0", "web", check=1)
    assert "label covey.update.canary: '0' is not a number of tasks" in refused.err


def returned(lab: LabCluster, host: LabHost) -> None:
    """Six tasks, none of them on a node that is back."""
    covey(lab, "node", "drain", host.name, "--wait")
    covey(lab, "node", "update", "--availability", "active", host.name)
    lab.running("web", 6)
    assert spread(lab) == [0, 3, 3]


def test_tasks_move_to_a_node_that_is_back_when_asked_or_by_policy(lab: LabCluster) -> None:
    create = ("service", "create", "-q", "--name", "web", "--replicas", "6", "--update-order", "start-first")
    covey(lab, *create, *QUICK, labs.IMAGE, *labs.SLEEP)
    assert spread(lab) == [2, 2, 2]
    returned(lab, lab.workers[0])
    kept = {task["ID"] for task in lab.tasks("web")}
    covey(lab, "service", "rebalance", "-q", "--all")
    assert spread(lab) == [2, 2, 2]
    assert len({task["ID"] for task in lab.tasks("web")} & kept) == 4
    assert (status(lab)["State"], status(lab)["Message"]) == ("completed", "rebalance completed")
    returned(lab, lab.workers[0])
    covey(lab, "service", "update", "-q", "--rebalance", "auto", "--rebalance-after", "100ms", "web")
    wait(lambda: spread(lab) == [2, 2, 2], "the policy to spread the tasks")
    lab.docker("service", "create", "-d", "--name", "all", "--mode", "global", labs.IMAGE, *labs.SLEEP)
    assert "not replicated" in covey(lab, "service", "rebalance", "all", check=1).err
