"""Where tasks go: spread, labels and constraints, availability, resources; and what a task that fits nowhere says."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support import labs
from tests.support.labs import Cluster

pytestmark = pytest.mark.root


@pytest.fixture
def plain(lab: Cluster) -> Iterator[Cluster]:
    """The shared lab, every node active and without labels afterwards."""
    yield lab
    for name, node in lab.nodes().items():
        if node["Spec"]["Availability"] != "active" or node["Spec"]["Labels"]:
            removals = [word for label in node["Spec"]["Labels"] for word in ("--label-rm", label)]
            lab.docker("node", "update", "--availability", "active", *removals, name)


def waiting(lab: Cluster, service: str) -> str:
    """What the one task of a service that cannot be placed says, through the client."""

    def said() -> str:
        out = lab.docker(
            "service", "ps", "--no-trunc", "--format", "{{.CurrentState}}|{{.Error}}|{{.Node}}", service
        ).out
        state, error, node = out.splitlines()[0].split("|") if out else ("", "", "")
        assert not node
        return error.strip('"') if state.startswith("Pending") else ""

    return labs.wait(said, f"the reason why {service} waits")


def test_replicas_are_spread_over_all_hosts(plain: Cluster) -> None:
    plain.service("spread", "--replicas", "10")
    placed = Counter(host.name for host in plain.hosts_of(plain.running("spread", 10)))
    assert set(placed.values()) == {2}
    plain.docker("service", "scale", "--detach", "spread=5")
    placed = Counter(host.name for host in plain.hosts_of(plain.running("spread", 5)))
    assert set(placed.values()) == {1}


def test_constraints_choose_by_role_label_and_name(plain: Cluster) -> None:
    four, five = plain.workers
    plain.docker("node", "update", "--label-add", "disk=ssd", five.name)
    for name, constraint, hosts in (
        ("by-label", "node.labels.disk==ssd", {five}),
        ("by-not", "node.labels.disk != ssd", set(plain.hosts) - {five}),
        ("by-role", "node.role==worker", {four, five}),
        ("by-name", f"node.hostname=={four.name}", {four}),
        ("by-id", f"node.id=={plain.node_id(four)}", {four}),
    ):
        plain.service(name, "--replicas", str(len(hosts)), "--constraint", constraint)
        assert set(plain.hosts_of(plain.running(name, len(hosts)))) == hosts, name
        plain.docker("service", "rm", name)


def test_a_task_that_fits_nowhere_says_which_filter_refused_how_many(plain: Cluster) -> None:
    five = plain.workers[1]
    plain.service("picky", "--constraint", "node.labels.disk==nvme")
    assert waiting(plain, "picky") == "no suitable node (scheduling constraints not satisfied on 5 nodes)"
    plain.docker("node", "update", "--availability", "pause", plain.workers[0].name)
    plain.service("greedy", "--reserve-memory", "900g")
    assert (
        waiting(plain, "greedy")
        == "no suitable node (1 node not available for new tasks; insufficient resources on 4 nodes)"
    )
    plain.service("many", "--replicas", "9", "--replicas-max-per-node", "2")
    labs.wait(lambda: len(plain.tasks("many", state="running")) == 8, "as many as may run")
    assert "max replicas per node limit exceed on 4 nodes" in waiting_one(plain, "many")
    # and goes as soon as a node fits
    plain.docker("node", "update", "--label-add", "disk=nvme", five.name)
    assert plain.hosts_of(plain.running("picky", 1)) == [five]


def waiting_one(lab: Cluster, service: str) -> str:
    return labs.wait(
        lambda: "".join(t["Status"].get("Err", "") for t in lab.tasks(service, state="pending")), "its reason"
    )


def test_drain_moves_tasks_and_active_takes_new_ones(plain: Cluster) -> None:
    five = plain.workers[1]
    plain.service("web", "--replicas", "5")
    before = plain.running("web", 5)
    assert five in plain.hosts_of(before)
    plain.docker("node", "update", "--availability", "drain", five.name)
    labs.wait(lambda: five not in plain.hosts_of(plain.running("web", 5)), "the drained host empty")
    labs.wait(lambda: not plain.covey_containers(five), "no container on the drained host")
    kept = {t["ID"] for t, host in zip(before, plain.hosts_of(before), strict=True) if host != five}
    assert kept < {task["ID"] for task in plain.running("web", 5)}
    assert "Drain" in plain.docker("node", "ls", "--filter", f"name={five.name}").out
    plain.docker("node", "update", "--availability", "active", five.name)
    plain.docker("service", "scale", "--detach", "web=10")
    assert five in plain.hosts_of(plain.running("web", 10))


def test_a_paused_node_keeps_what_it_runs_and_takes_nothing_new(plain: Cluster) -> None:
    five = plain.workers[1]
    plain.service("web", "--replicas", "5")
    before = {task["ID"] for task in plain.running("web", 5)}
    plain.docker("node", "update", "--availability", "pause", five.name)
    plain.docker("service", "scale", "--detach", "web=10")
    tasks = plain.running("web", 10)
    assert before <= {task["ID"] for task in tasks}
    assert Counter(plain.hosts_of(tasks))[five] == 1


def test_a_label_that_goes_takes_its_tasks_with_it(plain: Cluster) -> None:
    four, five = plain.workers
    plain.docker("node", "update", "--label-add", "zone=a", four.name)
    plain.service("web", "--constraint", "node.labels.zone==a")
    assert plain.hosts_of(plain.running("web", 1)) == [four]
    plain.docker("node", "update", "--label-rm", "zone", four.name)
    plain.docker("node", "update", "--label-add", "zone=a", five.name)
    labs.wait(lambda: plain.hosts_of(plain.running("web", 1)) == [five], "the task on the node that has the label")


def test_a_global_service_runs_once_on_each_node_also_on_new_room(plain: Cluster) -> None:
    five = plain.workers[1]
    plain.docker("node", "update", "--availability", "drain", five.name)
    plain.service("everywhere", "--mode", "global")
    assert set(plain.hosts_of(plain.running("everywhere", 4))) == set(plain.hosts) - {five}
    plain.docker("node", "update", "--availability", "active", five.name)
    assert set(plain.hosts_of(plain.running("everywhere", 5))) == set(plain.hosts)


def test_limits_hold_inside_the_container(plain: Cluster) -> None:
    plain.service("within", "--limit-memory", "32m", "--limit-pids", "20", "--limit-cpu", "0.5")
    task = plain.running("within", 1)[0]
    host = plain.host_of(task)
    shown = plain.get(f"/containers/{plain.container(task)}/json", on=host)["HostConfig"]
    assert shown["Memory"] == 32 << 20
    assert shown["PidsLimit"] == 20
    assert shown["NanoCpus"] == 500_000_000
    many = plain.execute(task, "sh", "-c", "for i in $(seq 40); do sleep 5 & done; echo started", check=None)
    assert "fork" in many.err, many
    eaten = plain.execute(task, "sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1", check=None)
    assert eaten.code == 137, eaten
