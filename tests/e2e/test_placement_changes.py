"""The docker client changes a placement, a node's labels, and mounts what is not there: what stays, what ends, and what is said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root


@pytest.fixture
def labelled(lab: LabCluster) -> Iterator[LabCluster]:
    """Two nodes in the zone east; the labels are gone after the test."""
    chosen = lab.managers[:2]
    for host in chosen:
        lab.docker("node", "update", "--label-add", "zone=east", host.name)
    yield lab
    for host in chosen:
        if lab.json("node", "inspect", host.name)[0]["Spec"]["Labels"]:
            lab.docker("node", "update", "--label-rm", "zone", host.name)


def ended(lab: LabCluster, service: str, state: str) -> list[dict]:
    return [task for task in lab.get("/tasks", service=[service]) if task["Status"]["State"] == state]


def test_an_update_of_placement_alone_keeps_the_tasks_whose_node_still_fits(labelled: LabCluster) -> None:
    one = labelled.managers[0].name
    labelled.service("web", "--replicas", "2", "--constraint", f"node.hostname=={one}")
    before = {task["ID"] for task in labelled.running("web", 2)}
    update = ("service", "update", "--constraint-add", "node.labels.zone==east", "--replicas-max-per-node", "2", "web")
    assert "converged" in labelled.docker(*update).out
    tasks = labelled.running("web", 2)
    assert {task["ID"] for task in tasks} == before
    assert all("node.labels.zone==east" in task["Spec"]["Placement"]["Constraints"] for task in tasks)
    assert "UpdateStatus" not in labelled.get("/services/web")
    labelled.docker("service", "update", "-d", "--constraint-add", "node.labels.zone!=east", "web")
    labs.wait(lambda: len(ended(labelled, "web", "shutdown")) == 1, "the update to begin with the first task")


def test_a_task_whose_node_loses_its_label_is_rejected_and_runs_elsewhere(labelled: LabCluster) -> None:
    labelled.service("web", "--constraint", "node.labels.zone==east")
    (task,) = labelled.running("web", 1)
    host = labelled.host_of(task)
    labelled.docker("node", "update", "--label-rm", "zone", host.name)
    (rejected,) = labs.wait(lambda: ended(labelled, "web", "rejected"), "the rejected task")
    assert (rejected["ID"], rejected["DesiredState"]) == (task["ID"], "shutdown")
    assert rejected["Status"]["Err"] == "assigned node no longer meets constraints"
    (other,) = labelled.running("web", 1)
    assert labelled.host_of(other) != host
    shown = labelled.docker("service", "ps", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}", "web").out
    assert "Rejected" in shown
    assert '"assigned node no longer meets constraints"' in shown
    assert not labelled.covey_containers(host)


def test_a_task_with_a_missing_bind_source_is_rejected_while_it_is_prepared(lab: LabCluster) -> None:
    lab.service("web", "--restart-condition", "none", "--mount", "type=bind,source=/none/such,target=/data")
    (task,) = labs.wait(lambda: ended(lab, "web", "rejected"), "the rejected task")
    assert "bind source path does not exist: /none/such" in task["Status"]["Err"]
    assert "ContainerStatus" not in task["Status"] or not task["Status"]["ContainerStatus"].get("PID")
