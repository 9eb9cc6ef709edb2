"""Single containers on a lab of two, with the real client: their networks, restart policies and verbs, beside a service of the cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, CommandResult, LabCluster, unique, wait

pytestmark = pytest.mark.root
IGNORES_TERM = ("sh", "-c", "trap '' TERM; while :; do sleep 1; done")
STOP_SECONDS = 10.0
"""How long the stop of a container lasts that ignores SIGTERM. What does not wait for it takes less."""


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("single", 1, 1, archive=images) as running:
        running.docker("network", "create", "--driver", "overlay", "--attachable", "open")
        running.docker("network", "create", "--driver", "overlay", "closed")
        running.docker("service", "create", "-q", "-d", "--name", "web", "--network", "open", "--constraint",
                       "node.role==worker", "--stop-signal", "SIGKILL", IMAGE, *labs.SLEEP)  # fmt: skip
        running.running("web", 1)
        yield running


def run(lab: LabCluster, *arguments: str, on: int = 1, **options: Any) -> CommandResult:
    return lab.docker("run", *arguments, on=lab[on], **options)


def background(lab: LabCluster, *options: str, on: int = 1) -> str:
    """Name of a new container that runs until it is killed."""
    name = unique("c")
    run(lab, "-d", "--init", "--name", name, *options, IMAGE, *labs.SLEEP, on=on)
    return name


def networks_of(lab: LabCluster, name: str, on: int = 1) -> dict[str, Any]:
    return dict(lab.get(f"/containers/{name}/json", on=lab[on])["NetworkSettings"]["Networks"])


def reaches(lab: LabCluster, name: str, target: str, on: int = 1) -> bool:
    return lab.docker("exec", name, "ping", "-c", "1", "-W", "2", target, on=lab[on], check=None).code == 0


def wait_reaches(lab: LabCluster, name: str, target: str, on: int = 1) -> None:
    """Wait until a container reaches another. Its host learns of changes on other hosts a moment after they are made."""
    wait(lambda: reaches(lab, name, target, on), f"{name} to reach {target}")


def test_containers_on_the_bridge_reach_each_other_and_a_link_gives_a_name(lab: LabCluster) -> None:
    name = background(lab, "--mac-address", "02:42:00:00:00:99", "--expose", "81/udp", "-e", "GREETING=hello")
    shown = networks_of(lab, name)["bridge"]
    assert shown["MacAddress"] == "02:42:00:00:00:99"
    assert shown["Gateway"]
    bridge = lab.json("network", "inspect", "bridge", on=lab[1])[0]
    assert bridge["IPAM"]["Config"][0]["Gateway"] == shown["Gateway"]
    assert bridge["Id"] == shown["NetworkID"]
    assert [item["Name"] for item in bridge["Containers"].values()] == [name]
    said = run(lab, "--rm", "--link", f"{name}:db", IMAGE, "sh", "-c", "ping -c 1 db && cat /etc/hosts && env").out
    assert "\nDB_ENV_GREETING=hello\n" in said
    assert f"{shown['IPAddress']}\tdb\n" in said
    linking = background(lab, "--link", f"{name}:db", "-e", "DB_ENV_GREETING=own")
    variables = lab.docker("exec", linking, "env", on=lab[1]).lines
    assert {f"DB_PORT_81_UDP=udp://{shown['IPAddress']}:81", f"DB_NAME=/{linking}/db", "DB_ENV_GREETING=own"} <= set(
        variables
    )
    own = lab.json("inspect", linking, on=lab[1])[0]["Config"]["Env"]
    assert "DB_ENV_GREETING=own" in own
    assert not any(line.startswith("DB_PORT") for line in own)
    lab.docker("restart", "-t", "0", name, on=lab[1])
    assert networks_of(lab, name)["bridge"]["IPAddress"] != shown["IPAddress"]
    assert reaches(lab, linking, "db")
    processes = lab.docker("top", linking, "-o", "pid,args", on=lab[1]).lines
    assert processes[0].split() == ["PID", "COMMAND"]
    assert processes[-1].endswith(" ".join(labs.SLEEP))
    lab.docker("rm", "--link", f"{linking}/db", on=lab[1])
    assert "has no link db" in lab.docker("rm", "--link", f"{linking}/db", on=lab[1], check=1).err
    lab.docker("rm", "-f", linking, on=lab[1])
    missing = run(lab, "--rm", "--link", "nobody:db", IMAGE, "true", check=125).err
    assert "could not get container for nobody: No such container: nobody" in missing
    lab.docker("rm", "-f", name, on=lab[1])
    assert lab.json("network", "inspect", "bridge", on=lab[1])[0]["Containers"] == {}


def test_a_container_joins_the_network_of_another_that_runs(lab: LabCluster) -> None:
    name = background(lab, "--hostname", "donor")
    said = run(lab, "--rm", "--network", f"container:{name}", IMAGE, "sh", "-c", "hostname; cat /etc/hosts").out
    assert said.startswith("donor\n")
    assert networks_of(lab, name)["bridge"]["IPAddress"] in said
    lab.docker("stop", "-t", "0", name, on=lab[1])
    assert networks_of(lab, name)["bridge"]["IPAddress"] == ""
    refused = run(lab, "--rm", "--network", f"container:{name}", IMAGE, "true", check=125).err
    assert "cannot join network of a non running container" in refused
    lab.docker("rm", name, on=lab[1])


def test_no_network_the_hosts_network_and_an_unknown_one(lab: LabCluster) -> None:
    interfaces = run(lab, "--rm", "--network", "none", IMAGE, "ip", "-o", "link").out
    assert len(interfaces.splitlines()) == 1
    assert run(lab, "--rm", "--network", "host", IMAGE, "hostname").out.strip() == lab[1].name
    assert "network nowhere not found" in run(lab, "--rm", "--network", "nowhere", IMAGE, "true", check=125).err


def test_containers_of_any_node_join_an_attachable_overlay_network(lab: LabCluster) -> None:
    one, two = (
        background(lab, "--network", "open"),
        background(lab, "--network", "open", "--network-alias", "zwei", on=2),
    )
    (task,) = lab.running("web", 1)
    for target in (two, "zwei", "web"):
        wait_reaches(lab, one, target)
    wait_reaches(lab, two, one, on=2)
    lab.execute(task, "ping", "-c", "1", one)
    lab.execute(task, "ping", "-c", "1", "zwei")
    assert {item["Name"] for item in lab.get("/networks", on=lab[2])} == {
        "bridge",
        "docker_gwbridge",
        "host",
        "ingress",
        "none",
        "open",
    }
    shown = lab.json("network", "inspect", "open", on=lab[2])[0]["Containers"].values()
    services = lab.json("network", "inspect", "--verbose", "open", on=lab[1])[0]["Services"]
    assert services["web"]["VIP"]
    assert services["web"]["Tasks"][0]["EndpointIP"] == task["NetworksAttachments"][0]["Addresses"][0].split("/")[0]
    addresses = {item["IPv4Address"] for item in shown} | {f"{networks_of(lab, one)['open']['IPAddress']}/24"}
    assert len(addresses) == 3
    assert two in {item["Name"] for item in shown}
    for number in (1, 2):
        refused = run(lab, "--rm", "--network", "closed", IMAGE, "true", on=number, check=125).err
        assert "network closed not manually attachable" in refused
    lab.docker("rm", "-f", two, on=lab[2])
    wait(lambda: not reaches(lab, one, "zwei"), "the name of a removed container to vanish")
    lab.docker("rm", "-f", one, on=lab[1])


def test_an_attached_container_keeps_its_network_while_its_daemon_is_away_and_gives_it_back(lab: LabCluster) -> None:
    one, two = background(lab, "--network", "open"), background(lab, "--network", "open", on=2)
    before = networks_of(lab, two, on=2)["open"]["IPAddress"]
    other = background(lab, on=2)
    shown = lab.get(f"/containers/{other}/json", on=lab[2])
    wait_reaches(lab, one, two)
    wait_reaches(lab, two, one, on=2)
    labs.cluster.crash(lab[2])
    assert reaches(lab, one, two)
    lab.inside(lab[2], "kill", "-9", str(shown["State"]["Pid"]))
    assert shown["Id"] in lab.inside(lab[2], "ls", "/run/covey/netns/containers").lines
    lab.start(lab[2])
    lab.wait_ready()
    assert networks_of(lab, two, on=2)["open"]["IPAddress"] == before
    assert reaches(lab, two, one, on=2)
    lab.running("web", 1)  # its task was replaced if the daemon was away for so long that its node was DOWN
    wait_reaches(lab, two, "web", on=2)
    assert shown["Id"] not in lab.inside(lab[2], "ls", "/run/covey/netns/containers").lines
    lab.docker("rm", other, on=lab[2])
    lab.docker("kill", two, on=lab[2])
    busy = lab.docker("network", "rm", "open", check=1).err
    assert "in use by service web" in busy
    lab.docker("rm", "-f", one, on=lab[1])
    lab.docker("rm", "-f", two, on=lab[2])


def test_a_running_container_is_connected_and_disconnected(lab: LabCluster) -> None:
    name = background(lab)
    lab.docker("network", "connect", "--alias", "late", "open", name, on=lab[1])
    (task,) = lab.running("web", 1)
    wait_reaches(lab, name, "web")
    wait_reaches(lab, lab.container(task), "late", on=2)
    assert set(networks_of(lab, name)) == {"bridge", "open"}
    told = lab.docker("events", "--since", "1m", "--until", "0s", "--filter", "type=network", "--format",
                      "{{.Action}} {{.Actor.Attributes.name}}", on=lab[1]).lines  # fmt: skip
    assert "connect open" in told
    again = lab.docker("network", "connect", "open", name, on=lab[1], check=1).err
    assert f"endpoint with name {name} already exists in network open" in again
    lab.docker("restart", "-t", "0", name, on=lab[1])
    assert set(networks_of(lab, name)) == {"bridge", "open"}
    lab.docker("network", "disconnect", "bridge", name, on=lab[1])
    lab.docker("network", "disconnect", "open", name, on=lab[1])
    assert networks_of(lab, name) == {}
    lab.docker("network", "connect", "bridge", name, on=lab[1])
    assert networks_of(lab, name)["bridge"]["IPAddress"]
    refused = lab.docker("network", "connect", "host", name, on=lab[1], check=1).err
    assert "container cannot be disconnected from host network or connected to host network" in refused
    lab.docker("rm", "-f", name, on=lab[1])


def test_the_stopped_container_of_a_service_starts_again(lab: LabCluster) -> None:
    (task,) = lab.running("web", 1)
    name = lab.container(task)
    lab.docker("stop", "-t", "0", name, on=lab[2])
    wait(lambda: [other for other in lab.running("web", 1) if other["ID"] != task["ID"]], "another task")
    lab.docker("start", name, on=lab[2])
    lab.docker("restart", "-t", "0", name, on=lab[2])
    assert lab.get(f"/containers/{name}/json", on=lab[2])["State"]["Running"]
    wait_reaches(lab, name, "web", on=2)


def test_restart_policies_survive_the_daemon_and_the_host(lab: LabCluster) -> None:
    always = background(lab, "--restart", "always", on=2)
    stopped = background(lab, "--restart", "unless-stopped", on=2)
    failing = unique("c")
    run(lab, "-d", "--name", failing, "--restart", "on-failure:2", IMAGE, "false", on=2)
    wait(lambda: lab.get(f"/containers/{failing}/json", on=lab[2])["RestartCount"] == 2, "two restarts")
    lab.docker("stop", "-t", "0", stopped, on=lab[2])
    lab.docker("update", "--restart", "no", failing, on=lab[2])
    lab.kill(lab[2])
    lab.start(lab[2])
    lab.wait_ready()

    def state(name: str) -> dict[str, Any]:
        return dict(lab.get(f"/containers/{name}/json", on=lab[2])["State"])

    wait(lambda: state(always)["Running"], "the container to start with its host")
    assert not state(stopped)["Running"]
    assert not state(failing)["Running"]
    lab.docker("rm", "-f", always, stopped, failing, on=lab[2])


def test_a_network_goes_right_behind_its_service(lab: LabCluster) -> None:
    lab.docker("network", "create", "--driver", "overlay", "short")
    lab.docker("service", "create", "-q", "-d", "--name", "slow", "--network", "short", IMAGE, *IGNORES_TERM)
    lab.running("slow", 1)
    lab.docker("service", "rm", "slow")
    began = time.monotonic()
    lab.docker("network", "rm", "short")
    assert time.monotonic() - began < STOP_SECONDS


def test_tasks_on_a_macvlan_network_of_the_cluster_reach_each_other_on_the_hosts_own_link(lab: LabCluster) -> None:
    """Each node has its own settings, here its own range of the subnet; the network goes from a node with its last task."""
    link = lab[1].address.rpartition(".")[0]
    for number in (1, 2):
        lab.docker("network", "create", "--config-only", "-o", "parent=eth0", "--subnet", f"{link}.0/24",
                   "--ip-range", f"{link}.{64 * number}/27", "settings", on=lab[number])  # fmt: skip
    lab.docker("network", "create", "-d", "macvlan", "--scope", "swarm", "--config-from", "settings", "wide")
    service = lab.service("flat", "--mode", "global", "--network", "wide")
    tasks = lab.running(service, 2)
    addresses = {}
    for task in tasks:
        host = lab.host_of(task)
        found = lab.get(f"/containers/{lab.container(task)}/json", on=host)["NetworkSettings"]["Networks"]
        addresses[host.number] = found["wide"]["IPAddress"]
    assert set(addresses.values()) == {f"{link}.65", f"{link}.129"}  # the first of each range is the gateway
    for task in tasks:
        other = addresses[3 - lab.host_of(task).number]
        assert lab.execute(task, "ping", "-c", "1", "-W", "2", other).code == 0
    assert "is in use" in lab.docker("network", "rm", "settings", on=lab[2], check=1).err
    lab.docker("service", "rm", service)
    lab.docker("network", "rm", "wide")
    for number in (1, 2):
        wait(
            lambda on=lab[number]: lab.docker("network", "rm", "settings", on=on, check=None).code == 0, "free settings"
        )


def test_a_node_leaves_at_once_and_its_containers_lose_the_clusters_networks(lab: LabCluster) -> None:
    name = background(lab, "--network", "open", on=2)
    lab.docker(
        "service", "create", "-q", "-d", "--name", "stubborn", "--constraint", "node.role==worker", IMAGE, *IGNORES_TERM
    )
    lab.running("stubborn", 1)
    began = time.monotonic()
    lab.docker("swarm", "leave", "--force", on=lab[2])
    assert time.monotonic() - began < STOP_SECONDS
    assert lab.docker("ps", "--format", "{{.Names}}", on=lab[2]).lines == [name]
    wait(lambda: networks_of(lab, name, on=2) == {}, "the container to leave the network")
    refused = lab.docker("restart", "-t", "0", name, on=lab[2], check=1).err
    assert "network open not found" in refused
