"""Task placement: spread, labels and constraints, availability, resource limits, and the reasons of unplaced tasks."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root


@pytest.fixture
def clean_lab(lab: LabCluster) -> Iterator[LabCluster]:
    """The shared lab. Afterwards every node is active and has no labels."""
    yield lab
    for name, node in lab.nodes().items():
        if node["Spec"]["Availability"] != "active" or node["Spec"]["Labels"]:
            removals = [word for label in node["Spec"]["Labels"] for word in ("--label-rm", label)]
            lab.docker("node", "update", "--availability", "active", *removals, name)


def pending_reason(lab: LabCluster, service: str) -> str:
    """Error of the only task of a service that cannot be placed, as ``docker service ps`` shows it."""

    def reason() -> str:
        out = lab.docker(
            "service", "ps", "--no-trunc", "--format", "{{.CurrentState}}|{{.Error}}|{{.Node}}", service
        ).out
        state, error, node = out.splitlines()[0].split("|") if out else ("", "", "")
        assert not node
        return error.strip('"') if state.startswith("Pending") else ""

    return labs.wait(reason, f"the reason why {service} waits")


def test_replicas_are_spread_over_all_hosts(clean_lab: LabCluster) -> None:
    clean_lab.service("spread", "--replicas", "10")
    placed = Counter(host.name for host in clean_lab.hosts_of(clean_lab.running("spread", 10)))
    assert set(placed.values()) == {2}
    clean_lab.docker("service", "scale", "--detach", "spread=5")
    placed = Counter(host.name for host in clean_lab.hosts_of(clean_lab.running("spread", 5)))
    assert set(placed.values()) == {1}


def test_constraints_select_nodes_by_role_label_name_and_id(clean_lab: LabCluster) -> None:
    four, five = clean_lab.workers
    clean_lab.docker("node", "update", "--label-add", "disk=ssd", five.name)
    for name, constraint, hosts in (
        ("by-label", "node.labels.disk==ssd", {five}),
        ("by-not", "node.labels.disk != ssd", set(clean_lab.hosts) - {five}),
        ("by-role", "node.role==worker", {four, five}),
        ("by-name", f"node.hostname=={four.name}", {four}),
        ("by-id", f"node.id=={clean_lab.node_id(four)}", {four}),
    ):
        clean_lab.service(name, "--replicas", str(len(hosts)), "--constraint", constraint)
        assert set(clean_lab.hosts_of(clean_lab.running(name, len(hosts)))) == hosts, name
        clean_lab.docker("service", "rm", name)


def test_a_task_that_fits_nowhere_reports_how_many_nodes_each_filter_rejected(clean_lab: LabCluster) -> None:
    five = clean_lab.workers[1]
    clean_lab.service("picky", "--constraint", "node.labels.disk==nvme")
    picky = "no suitable node (scheduling constraints not satisfied on 5 nodes: node.labels.disk==nvme)"
    assert pending_reason(clean_lab, "picky") == picky
    clean_lab.docker("node", "update", "--availability", "pause", clean_lab.workers[0].name)
    clean_lab.service("greedy", "--reserve-memory", "900g")
    greedy = pending_reason(clean_lab, "greedy")
    assert greedy.startswith(
        "no suitable node (1 node not available for new tasks: 1 paused; "
        "insufficient resources on 4 nodes: needs 900GiB memory (most free "
    )
    clean_lab.service("many", "--replicas", "9", "--replicas-max-per-node", "2")
    labs.wait(lambda: len(clean_lab.tasks("many", state="running")) == 8, "the allowed number of tasks running")
    assert "max replicas per node limit exceed on 4 nodes" in any_pending_reason(clean_lab, "many")
    # The task is placed as soon as a node fits.
    clean_lab.docker("node", "update", "--label-add", "disk=nvme", five.name)
    assert clean_lab.hosts_of(clean_lab.running("picky", 1)) == [five]


def any_pending_reason(lab: LabCluster, service: str) -> str:
    return labs.wait(
        lambda: "".join(t["Status"].get("Err", "") for t in lab.tasks(service, state="pending")), "its reason"
    )


def test_a_drained_node_loses_its_tasks_and_an_active_one_takes_new_ones(clean_lab: LabCluster) -> None:
    five = clean_lab.workers[1]
    clean_lab.service("web", "--replicas", "5")
    before = clean_lab.running("web", 5)
    assert five in clean_lab.hosts_of(before)
    clean_lab.docker("node", "update", "--availability", "drain", five.name)
    labs.wait(lambda: five not in clean_lab.hosts_of(clean_lab.running("web", 5)), "the drained host empty")
    labs.wait(lambda: not clean_lab.covey_containers(five), "no container on the drained host")
    kept = {t["ID"] for t, host in zip(before, clean_lab.hosts_of(before), strict=True) if host != five}
    assert kept < {task["ID"] for task in clean_lab.running("web", 5)}
    assert "Drain" in clean_lab.docker("node", "ls", "--filter", f"name={five.name}").out
    clean_lab.docker("node", "update", "--availability", "active", five.name)
    clean_lab.docker("service", "scale", "--detach", "web=10")
    assert five in clean_lab.hosts_of(clean_lab.running("web", 10))


def test_a_paused_node_keeps_its_tasks_and_takes_no_new_ones(clean_lab: LabCluster) -> None:
    five = clean_lab.workers[1]
    clean_lab.service("web", "--replicas", "5")
    before = {task["ID"] for task in clean_lab.running("web", 5)}
    clean_lab.docker("node", "update", "--availability", "pause", five.name)
    clean_lab.docker("service", "scale", "--detach", "web=10")
    tasks = clean_lab.running("web", 10)
    assert before <= {task["ID"] for task in tasks}
    assert Counter(clean_lab.hosts_of(tasks))[five] == 1


def test_removing_a_node_label_moves_the_tasks_that_require_it(clean_lab: LabCluster) -> None:
    four, five = clean_lab.workers
    clean_lab.docker("node", "update", "--label-add", "zone=a", four.name)
    clean_lab.service("web", "--constraint", "node.labels.zone==a")
    assert clean_lab.hosts_of(clean_lab.running("web", 1)) == [four]
    clean_lab.docker("node", "update", "--label-rm", "zone", four.name)
    clean_lab.docker("node", "update", "--label-add", "zone=a", five.name)
    labs.wait(
        lambda: clean_lab.hosts_of(clean_lab.running("web", 1)) == [five], "the task on the node that has the label"
    )


def test_a_global_service_runs_once_on_each_node_also_on_a_new_one(clean_lab: LabCluster) -> None:
    five = clean_lab.workers[1]
    clean_lab.docker("node", "update", "--availability", "drain", five.name)
    clean_lab.service("everywhere", "--mode", "global")
    assert set(clean_lab.hosts_of(clean_lab.running("everywhere", 4))) == set(clean_lab.hosts) - {five}
    clean_lab.docker("node", "update", "--availability", "active", five.name)
    assert set(clean_lab.hosts_of(clean_lab.running("everywhere", 5))) == set(clean_lab.hosts)


def test_resource_limits_are_enforced_in_the_container(clean_lab: LabCluster) -> None:
    clean_lab.service("within", "--limit-memory", "32m", "--limit-pids", "20", "--limit-cpu", "0.5")
    task = clean_lab.running("within", 1)[0]
    host = clean_lab.host_of(task)
    shown = clean_lab.get(f"/containers/{clean_lab.container(task)}/json", on=host)["HostConfig"]
    assert shown["Memory"] == 32 << 20
    assert shown["PidsLimit"] == 20
    assert shown["NanoCpus"] == 500_000_000
    many = clean_lab.execute(task, "sh", "-c", "for i in $(seq 40); do sleep 5 & done; echo started", check=None)
    assert "fork" in many.err, many
    eaten = clean_lab.execute(task, "sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1", check=None)
    assert eaten.code == 137, eaten
