"""`covey network verify` in a cluster: a manager names the differences of all nodes by node, repairs them, and names silent nodes.

Drawings of a network show the nodes, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support import labs
from tests.support.labs import CommandResult, LabCluster, wait

pytestmark = pytest.mark.root
COVEY = labs.PYTHON_BIN / "covey"


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("verify", 1, 1, archive=images) as running:
        wait(lambda: verify(running).out == "No differences\n", "a settled cluster")
        yield running


def verify(lab: LabCluster, *options: str, number: int = 1) -> CommandResult:
    return labs.run([COVEY, "network", "verify", *options], check=None, env=lab.environment(lab[number]))


def test_a_manager_names_and_repairs_the_differences_of_all_nodes(lab: LabCluster) -> None:
    for number, destination in ((1, "10.66.1.0/24"), (2, "10.66.2.0/24")):
        lab.inside(lab[number], "ip", "route", "add", destination, "dev", "lo", "proto", "192")
    found = verify(lab)
    rows = [line.split() for line in found.out.splitlines()]
    assert rows[0] == ["NODE", "NAMESPACE", "DIFFERENCE", "ITEM", "WANTED", "FOUND"]
    assert [row[:6] for row in rows[1:]] == [
        [lab[1].name, "host", "stray", "IPv4", "route", "10.66.1.0/24"],
        [lab[2].name, "host", "stray", "IPv4", "route", "10.66.2.0/24"],
    ]
    assert found.code == 1
    assert [line.split()[0] for line in verify(lab, number=2).out.splitlines()] == ["NAMESPACE", "host"]
    assert len(verify(lab, "--host").out.splitlines()) == 2
    repaired = verify(lab, "--repair")
    assert (repaired.code, repaired.err) == (0, "Repaired 2 differences, 0 left\n")
    assert verify(lab).out == "No differences\n"


def test_a_network_is_drawn_with_its_hosts_tasks_and_services(lab: LabCluster) -> None:
    lab.docker("network", "create", "-d", "overlay", "shop")
    lab.service(
        "web",
        "--network",
        "shop",
        "--replicas",
        "2",
        "--placement-pref",
        "spread=node.id",
        "--replicas-max-per-node",
        "1",
    )
    tasks = {f"web.{task['Slot']}.{task['ID']}": lab.host_of(task).name for task in lab.running("web", 2)}

    def graph(*options: str) -> str:
        return labs.run([COVEY, "network", "graph", *options, "shop"], env=lab.environment(lab[1])).out

    flowchart = graph()
    boxes = {box.split('"')[1].split("<br/>")[0]: box for box in flowchart.split("subgraph ")[1:]}
    assert {name for name in tasks if f'"{name}<br/>' in boxes[tasks[name]]} == set(tasks)
    assert flowchart.count("service0 --> ") == 2
    texts = [element.text for element in ET.fromstring(graph("--format", "svg")).iter()]
    assert {"shop", "web", *(host.name for host in lab.hosts)} <= set(texts)
    peers = labs.run([COVEY, "network", "inspect", "--peers", "shop"], env=lab.environment(lab[1])).lines
    assert [line.split() for line in peers[1:]] == [["shop", host.name, host.address, "1"] for host in lab.hosts]


def test_a_node_that_does_not_answer_is_named(lab: LabCluster) -> None:
    lab.kill(lab[2])
    try:
        found = wait(lambda: (told := verify(lab)).code and told, "a manager that misses a node", 30)
        assert found.err.startswith(f"node {lab[2].name} was not checked: it ")
    finally:
        lab.start(lab[2])
        lab.wait_ready()
    wait(lambda: verify(lab).code == 0, "the node's answer")
