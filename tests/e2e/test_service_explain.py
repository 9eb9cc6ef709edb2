"""A waiting task says why, the change that is suggested places it, and a dry run tells the placement that then comes true."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, SLEEP, LabCluster

pytestmark = pytest.mark.root

COVEY = labs.PYTHON_BIN / "covey"


def covey(lab: LabCluster, *arguments: str, check: int = 0) -> str:
    return labs.run([COVEY, *arguments], env=lab.environment(), check=check).out


def waiting(lab: LabCluster, service: str) -> dict:
    """What the tasks without a node wait for, once the scheduler has tried."""
    labs.wait(lambda: [task for task in lab.tasks(service, state="pending") if task["Status"].get("Err")], "a reason")
    found = lab.get(f"/services/{service}/explain")["Waiting"]
    (item,) = [each for each in found if each["Cause"] == "placement"]
    return item


def apply(lab: LabCluster, item: dict, text: str) -> None:
    """Run the command of a suggestion, as it was printed."""
    (command,) = [each["Command"] for each in item["Suggestions"] if each["Text"] == text]
    program, *arguments = shlex.split(command)
    assert program == "covey"
    covey(lab, *arguments, *(["--detach"] if arguments[0] == "service" else []))


@pytest.fixture
def zoned(lab: LabCluster) -> Iterator[LabCluster]:
    """The labels are gone, and all nodes are active again, after the test."""
    yield lab
    for node in lab.get("/nodes"):
        labels = [part for name in node["Spec"]["Labels"] or {} for part in ("--label-rm", name)]
        if labels or node["Spec"]["Availability"] != "active":
            lab.docker("node", "update", *labels, "--availability", "active", node["ID"])


def test_the_label_that_is_missing_is_named_and_places_the_task(zoned: LabCluster) -> None:
    nodes = len(zoned.hosts)
    zoned.service("picky", "--constraint", "node.labels.zone==a")
    item = waiting(zoned, "picky")
    refused = f"scheduling constraints not satisfied on {nodes} nodes: node.labels.zone==a"
    assert item["Reason"] == f"no suitable node ({refused})"
    assert refused in covey(zoned, "service", "ps", "picky"), "the reason is shown whole"
    shown = covey(zoned, "service", "explain", "picky")
    assert shown.startswith("picky: 0 of 1 task running\n\n1 task waits for a node: picky.1\n")
    label = next(each["Text"] for each in item["Suggestions"] if "label zone=a" in each["Text"])
    assert f"- {label}" in shown
    apply(zoned, item, label)
    zoned.running("picky", 1)
    assert "nothing is waiting" in covey(zoned, "service", "explain", "picky")


def test_a_reservation_that_fits_nowhere_is_lowered_as_suggested(zoned: LabCluster) -> None:
    zoned.service("greedy", "--reserve-memory", "900g")
    item = waiting(zoned, "greedy")
    text = next(each["Text"] for each in item["Suggestions"] if each["Text"].startswith("lower the reserved memory to"))
    apply(zoned, item, text)
    zoned.running("greedy", 1)


def test_the_service_that_holds_a_port_and_the_limit_of_replicas_are_named(zoned: LabCluster) -> None:
    nodes = len(zoned.hosts)
    zoned.service("holder", "-p", "mode=host,published=9191,target=80", "--mode", "global")
    zoned.running("holder", nodes)
    zoned.service("late", "-p", "mode=host,published=9191,target=80")
    texts = [each["Text"] for each in waiting(zoned, "late")["Suggestions"]]
    assert all(text.startswith("free host port 9191/tcp on node ") for text in texts)
    assert all(text.endswith("held by service holder") for text in texts)
    zoned.service("many", "--replicas", str(nodes + 1), "--replicas-max-per-node", "1")
    apply(zoned, waiting(zoned, "many"), "raise the maximum of replicas per node to 2")
    zoned.running("many", nodes + 1)


def test_a_dry_run_tells_the_placement_that_comes_true(zoned: LabCluster) -> None:
    drained = zoned.hosts[-1].name
    zoned.docker("node", "update", "--availability", "drain", drained)
    flags = ("--replicas", "4", "--constraint", f"node.hostname!={drained}")
    shown = covey(zoned, "service", "create", "--name", "web", "--dry-run", *flags, IMAGE, *SLEEP)
    assert shown.startswith("+ service web: 4 tasks\nPlacement:\n")
    assert not zoned.get("/services"), "nothing is stored"
    told = {line.split(":")[0].strip(): int(line.split()[1]) for line in shown.splitlines()[2:]}
    zoned.service("web", *flags)
    assert Counter(host.name for host in zoned.hosts_of(zoned.running("web", 4))) == told
    shown = covey(zoned, "service", "scale", "--dry-run", "web=6")
    assert "Mode.Replicated.Replicas: 4 -> 6" in shown
    told = {
        line.split(":")[0].strip(): int(line.split()[1]) for line in shown.partition("Placement:\n")[2].splitlines()
    }
    zoned.docker("service", "scale", "--detach", "web=6")
    assert Counter(host.name for host in zoned.hosts_of(zoned.running("web", 6))) == told
    refused = covey(zoned, "service", "update", "--dry-run", "--constraint-add", "node.labels.none==1", "web", check=1)
    assert "TaskTemplate.Placement.Constraints" in refused
    assert "wait for a node" in refused or "waits for a node" in refused
    assert all("none" not in str(service["Spec"]) for service in zoned.get("/services"))


def test_an_image_that_no_registry_has_is_named(zoned: LabCluster) -> None:
    zoned.docker(
        "service",
        "create",
        "--detach",
        "--no-resolve-image",
        "--name",
        "nowhere",
        "--restart-delay",
        "3s",
        "no/such:image",
    )

    def reasons() -> list[str]:
        found = zoned.get("/services/nowhere/explain")["Waiting"]
        return [
            item["Reason"]
            for item in found
            if "was rejected on node" in item["Reason"] and "no/such:image" in item["Reason"]
        ]

    labs.wait(reasons, "the image in the explanation")
