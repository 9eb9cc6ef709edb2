"""Generic resources, through the docker client on two hosts: advertised, claimed, told to containers, and given back."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab import host as machine
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root

FOLDER = Path("/etc/covey")


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    is_new = not FOLDER.exists()
    FOLDER.mkdir(exist_ok=True)
    try:
        with labs.running_lab("generic", 1, 1, archive=images) as running:
            for host in running.hosts:
                running.inside(host, "mount", "-t", "tmpfs", "none", str(FOLDER))
            yield running
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # another session uses it
                FOLDER.rmdir()


def advertise(lab: LabCluster, host: LabHost, *resources: str) -> None:
    """Change what a host advertises while its daemon runs, and wait until the managers know."""
    setting = f'node-generic-resources = {json.dumps(resources)}\nlabels = ["gpus=g{len(resources)}"]\n'
    lab.inside(host, "sh", "-c", f"cat > {FOLDER}/coveyd.toml", stdin=setting.encode())
    reload(lab, host)
    labs.wait(lambda: advertised(lab, host) == sorted(resources), f"{resources} of {host.name}")


def reload(lab: LabCluster, host: LabHost) -> None:
    """The daemon's pid is one inside the host."""
    lab.inside(host, "kill", "-HUP", str(machine.daemon_pid(host)))


def advertised(lab: LabCluster, host: LabHost) -> list[str]:
    node = lab.json("node", "inspect", lab.node_id(host))[0]
    return written(node["Description"]["Resources"].get("GenericResources"))


def written(items: list[dict[str, dict[str, object]]] | None) -> list[str]:
    specs = [next(iter(item.values())) for item in items or ()]
    return sorted(f"{spec['Kind']}={spec['Value']}" for spec in specs)


def held(lab: LabCluster, service: str, kind: str, count: int) -> list[str]:
    """What the containers of the service are told; each task's inspection agrees."""
    told = []
    for task in lab.running(service, count):
        told.append(lab.execute(task, "sh", "-c", f"echo $DOCKER_RESOURCE_{kind.upper()}").out.strip())
        (shown,) = lab.json("inspect", "--type", "task", task["ID"])
        assert ",".join(text.partition("=")[2] for text in written(shown["GenericResources"])) == told[-1]
        assert shown["AssignedGenericResources"] == shown["GenericResources"]
    return sorted(told)


def pending(lab: LabCluster, service: str, count: int) -> list[str]:
    """Wait for so many pending tasks. Returns their reasons."""
    tasks = labs.wait(
        lambda: found if len(found := lab.tasks(service, state="pending")) == count else [], f"{count} pending tasks"
    )
    return [task["Status"].get("Err", "") for task in tasks]


def test_names_are_claimed_told_and_given_back(lab: LabCluster) -> None:
    advertise(lab, lab[1], "gpu=a", "gpu=b", "disk=3")
    advertise(lab, lab[2], "gpu=c")
    info = lab.json("info", "--format", "json")
    assert written(info["GenericResources"]) == ["disk=3", "gpu=a", "gpu=b"]
    lab.service("one", "--generic-resource", "gpu=1", "--replicas", "4")
    assert labs.wait(lambda: [why for why in pending(lab, "one", 1) if why], "a reason") == [
        "no suitable node (insufficient resources on 2 nodes: needs gpu=1 (most free 0))"
    ]
    lab.docker("service", "scale", "--detach", "one=3")
    assert held(lab, "one", "gpu", 3) == ["a", "b", "c"]
    lab.docker("service", "rm", "one")
    lab.service("both", "--generic-resource", "gpu=2")
    assert held(lab, "both", "gpu", 1) == ["a,b"]
    lab.docker("service", "rm", "both")


def test_numbers_are_claimed_with_an_update_and_given_back(lab: LabCluster) -> None:
    advertise(lab, lab[1], "disk=3")
    advertise(lab, lab[2])
    lab.service("disks", "--generic-resource", "disk=2", "--replicas", "2")
    pending(lab, "disks", 1)
    assert [text for text in (written(t.get("GenericResources")) for t in lab.tasks("disks")) if text] == [["disk=2"]]
    lab.docker("service", "update", "--detach", "--generic-resource-rm", "disk", "disks")
    lab.docker("service", "update", "--detach", "--generic-resource-add", "disk=1", "disks")
    assert held(lab, "disks", "disk", 2) == ["1", "1"]
    lab.docker("service", "rm", "disks")


def test_what_a_node_gets_while_its_daemon_runs_places_waiting_tasks(lab: LabCluster) -> None:
    """Its labels change with it. What a task holds stays with it when the node no longer has it."""
    advertise(lab, lab[1])
    advertise(lab, lab[2])
    lab.service("late", "--generic-resource", "fpga=1", "--constraint", "engine.labels.gpus==g2")
    pending(lab, "late", 1)
    advertise(lab, lab[2], "fpga=x", "gpu=c")
    assert held(lab, "late", "fpga", 1) == ["x"]
    lab.docker("service", "scale", "--detach", "late=2")
    pending(lab, "late", 1)


def test_a_configuration_with_wrong_resources_changes_nothing(lab: LabCluster) -> None:
    advertise(lab, lab[1], "gpu=a")
    lab.inside(lab[1], "sh", "-c", f'echo \'node-generic-resources = ["gpu=1", "gpu=2"]\' > {FOLDER}/coveyd.toml')
    reload(lab, lab[1])
    log = lab[1].log
    labs.wait(lambda: "gpu has several entries and a number" in log.read_text(), "the refusal in the log")
    assert advertised(lab, lab[1]) == ["gpu=a"]


def test_a_driver_and_a_name_that_a_host_gets_while_its_daemon_runs_are_told(lab: LabCluster) -> None:
    """A host without a journal gets one, and another name; only then a service that logs to the journal runs there."""
    lab.service("logs", "--log-driver", "journald", "--env", "ON={{.Node.Hostname}}")
    assert labs.wait(lambda: [why for why in pending(lab, "logs", 1) if why], "a reason") == [
        "no suitable node (missing plugin on 2 nodes: Log/journald)"
    ]
    host, node_id = lab[2], lab.node_id(lab[2])
    lab.inside(host, "hostname", "renamed")
    script = "import socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind('{}'); print('serves', flush=True); input()"
    lab.inside(host, "mkdir", "-p", "/run/systemd/journal")
    with lab.serving(host, sys.executable, "-c", script.format("/run/systemd/journal/socket")):
        (task,) = lab.running("logs", 1)
        assert task["NodeID"] == node_id
        told = lab.docker("exec", lab.container(task), "sh", "-c", "echo $ON", on=host).out.strip()
        (shown,) = lab.json("node", "inspect", node_id)
        assert shown["Description"]["Hostname"] == told == "renamed"
        assert {"Type": "Log", "Name": "journald"} in shown["Description"]["Engine"]["Plugins"]
        lab.docker("service", "rm", "logs")
    lab.inside(host, "hostname", host.name)
