"""Events of the cluster as Docker sends them, and the history of a service: who changed what, and why its tasks were placed, moved or ended.

The attributes are those that Docker 20.10 sends for the same commands.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root

COVEY = labs.PYTHON_BIN / "covey"


def now() -> str:
    """The present time as the API takes it."""
    return f"{time.time():.9f}"


@pytest.fixture(scope="module")
def pair(images: Path) -> Iterator[LabCluster]:
    """A manager and a worker."""
    with labs.running_lab("events", 1, 1, archive=images) as found:
        yield found


def covey(lab: LabCluster, *arguments: str, check: int = 0) -> labs.CommandResult:
    return labs.run([COVEY, *arguments], env=lab.environment(), check=check)


def events(lab: LabCluster, since: str, *filters: str, program: str = "docker") -> list[dict[str, Any]]:
    """The cluster's events since a time, in order."""
    conditions = [word for item in filters for word in ("--filter", item)]
    command = ["events", "--since", since, "--until", now(), "--format", "{{json .}}", *conditions]
    said = lab.docker(*command) if program == "docker" else covey(lab, *command[:-2], "--format", "json", *conditions)
    return [json.loads(line) for line in said.lines]


def attributes(event: dict[str, Any]) -> dict[str, str]:
    """Docker's attributes; Covey's own begin with its name."""
    return {key: value for key, value in event["Actor"]["Attributes"].items() if not key.startswith("covey.")}


def told(lab: LabCluster, since: str, *filters: str) -> list[tuple[str, str, dict[str, str]]]:
    return [(item["Type"], item["Action"], attributes(item)) for item in events(lab, since, *filters)]


def in_order(wanted: list[Any], found: list[Any]) -> bool:
    rest = iter(found)
    return all(item in rest for item in wanted)


def test_events_have_dockers_attributes_and_are_remembered(pair: LabCluster) -> None:
    since = now()
    pair.docker("secret", "create", "key", "-", stdin=b"x")
    pair.docker("config", "create", "conf", "-", stdin=b"x")
    pair.docker("network", "create", "-d", "overlay", "net")
    pair.service("web", "--update-monitor", "100ms", "--rollback-monitor", "100ms")
    pair.running("web", 1)
    pair.docker("service", "scale", "-d", "web=2")
    pair.running("web", 2)
    pair.docker("service", "update", "--no-resolve-image", "--image", labs.OTHER_IMAGE, "web")
    pair.docker("service", "rollback", "web")
    for kind, name in (("secret", "key"), ("config", "conf"), ("network", "net"), ("service", "web")):
        pair.docker(kind, "rm", name)
    name = {"name": "web"}
    assert in_order(
        [
            ("service", "create", name),
            ("service", "update", {**name, "replicas.old": "1", "replicas.new": "2"}),
            ("service", "update", {**name, "image.old": IMAGE, "image.new": labs.OTHER_IMAGE}),
            ("service", "update", {**name, "updatestate.new": "updating"}),
            ("service", "update", {**name, "updatestate.old": "updating", "updatestate.new": "completed"}),
            ("service", "remove", name),
        ],
        told(pair, since, "type=service"),
    )
    for kind, label in (("secret", "key"), ("config", "conf"), ("network", "net")):
        assert in_order(
            [(kind, "create", {"name": label}), (kind, "remove", {"name": label})],
            told(pair, since, f"type={kind}", "scope=swarm"),
        )
    assert all(item["scope"] == "swarm" for item in events(pair, since, "type=service"))


def test_events_of_nodes_tell_availability_role_and_state(pair: LabCluster) -> None:
    since, worker = now(), pair.workers[0]
    name = {"name": worker.name}
    for availability in ("pause", "active"):
        pair.docker("node", "update", "--availability", availability, worker.name)
    pair.kill(worker)
    labs.wait(lambda: pair.nodes()[worker.name]["Status"]["State"] == "down", "the worker to be down")
    pair.restore_all_hosts()
    found = told(pair, since, "type=node")
    assert in_order(
        [
            ("node", "update", {**name, "availability.old": "active", "availability.new": "pause"}),
            ("node", "update", {**name, "availability.old": "pause", "availability.new": "active"}),
        ],
        found,
    )
    states = [(item.get("state.old"), item.get("state.new")) for _, _, item in found if "state.new" in item]
    assert (states[0][0], states[-1][1]) == ("ready", "ready")
    assert any(new == "down" for _, new in states)


def history(lab: LabCluster, name: str, *options: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in covey(lab, "service", "history", name, "--format", "json", *options).lines]


def test_the_history_tells_who_changed_a_service_and_why_its_tasks_moved(pair: LabCluster) -> None:
    manager, worker = pair.managers[0], pair.workers[0]
    pair.service("moved", "--replicas", "1", "--constraint", f"node.hostname=={worker.name}", "--restart-delay", "0s")
    pair.running("moved", 1)
    pair.docker("service", "update", "-d", "--constraint-rm", f"node.hostname=={worker.name}", "moved")
    pair.docker("node", "update", "--availability", "drain", worker.name)
    labs.wait(lambda: pair.hosts_of(pair.running("moved", 1)) == [manager], "the task to move")
    pair.docker("node", "update", "--availability", "active", worker.name)
    pair.docker("service", "rm", "moved")
    entries = labs.wait(
        lambda: (
            [item for item in history(pair, "moved", "--no-trunc") if item["Text"] == "removed"]
            and history(pair, "moved", "--no-trunc")
        ),
        "the removal in the history",
    )
    texts = [(item["By"], item["Text"]) for item in entries]
    user = f"root@{manager.name}"
    assert texts[0] == (user, f"created: image {IMAGE}, replicated, 1 replicas")
    assert (user, "changed task.placement") in texts
    assert (user, "removed") in texts
    assert (worker.name, f"runs on {worker.name}") in texts
    assert any(by == "leader (services)" and f"whose node {worker.name} is drained" in text for by, text in texts)
    assert any(by == "leader (scheduler)" and text.startswith(f"placed on {manager.name}") for by, text in texts)
    assert all(item["Object"].startswith(("service moved", "task moved.1")) for item in entries)
    assert len(history(pair, "moved", "--tail", "2")) == 2
    said = covey(pair, "service", "history", "nosuch", check=1)
    assert "nosuch not found" in said.err


def test_tasks_have_events_for_those_who_ask(pair: LabCluster) -> None:
    since = now()
    pair.service("asked", "--restart-condition", "none", command=("sh", "-c", "exit 3"))
    labs.wait(lambda: pair.tasks("asked", desired="", state="failed"), "the task to fail")
    found = labs.wait(
        lambda: [item for item in events(pair, since, "type=task", "service=asked") if item["Action"] == "fail"],
        "the event of the failure",
    )
    assert "non-zero exit (3)" in found[0]["Actor"]["Attributes"]["reason"]
    assert not [item for item in events(pair, since) if item["Type"] == "task"], "Docker has no events of tasks"
    pair.docker("service", "rm", "asked")
