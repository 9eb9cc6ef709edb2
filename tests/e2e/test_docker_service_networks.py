"""Published ports, the ingress network, dual stack, predefined networks and fixed addresses of services, with the docker client."""

from typing import Any

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root


def ports(lab: LabCluster, service: str) -> list[tuple[int, int, str]]:
    shown = lab.get(f"/services/{service}")["Endpoint"].get("Ports", [])
    return [(port["PublishedPort"], port["TargetPort"], port["PublishMode"]) for port in shown]


def attached(task: dict[str, Any]) -> dict[str, list[str]]:
    """The addresses of a task by the name of the network."""
    return {item["Network"]["Spec"]["Name"]: item["Addresses"] for item in task.get("NetworksAttachments", [])}


def test_ports_change_by_updates_while_the_task_goes_on(lab: LabCluster) -> None:
    lab.service("web", "-p", "8080:80", "-p", "published=0,target=81")
    before = lab.running("web", 1)[0]
    assert ports(lab, "web") == [(8080, 80, "ingress"), (30000, 81, "ingress")]
    assert attached(before)["ingress"][0].startswith("10.0.0.")
    lab.docker("service", "update", "--publish-rm", "80", "--publish-add", "9090:80/udp", "web")
    lab.docker("service", "update", "--publish-add", "mode=host,published=7070,target=70", "web")
    assert sorted(ports(lab, "web")) == [(7070, 70, "host"), (9090, 80, "ingress"), (30000, 81, "ingress")]
    after = lab.running("web", 1)[0]
    assert (after["ID"], attached(after)) == (before["ID"], attached(before))
    lab.docker("service", "update", "--rollback", "web")
    assert sorted(ports(lab, "web")) == [(9090, 80, "ingress"), (30000, 81, "ingress")]
    assert lab.running("web", 1)[0]["ID"] == before["ID"]
    listed = lab.docker("service", "ls", "--format", "{{.Ports}}").lines
    assert listed == ["*:30000->81/tcp, *:9090->80/udp"] or listed == ["*:9090->80/udp, *:30000->81/tcp"]


def test_a_port_in_use_is_refused_with_its_owner(lab: LabCluster) -> None:
    identity = lab.service("web", "-p", "8080:80")
    refused = lab.docker("service", "create", "-d", "--name", "api", "-p", "8080:81", IMAGE, check=1)
    assert f"port '8080' is already in use by service 'web' ({identity}) as an ingress port" in refused.err
    lab.service("api")
    refused = lab.docker(
        "service", "update", "-d", "--publish-add", "mode=host,published=8080,target=1", "api", check=1
    )
    assert "already in use by service 'web'" in refused.err
    assert ports(lab, "api") == []


def test_host_ports_limit_a_service_to_one_task_a_node(lab: LabCluster) -> None:
    nodes = len(lab.hosts)
    lab.service("agent", "-p", "mode=host,published=9100,target=9100", "--replicas", str(nodes + 1))

    def placed() -> tuple[set[str], list[str]]:
        """Nodes with a running task, and what the other tasks wait for."""
        found = [(task["Status"], task.get("NodeID", "")) for task in lab.get("/tasks", service=["agent"])]
        waiting = [status.get("Err", "") for status, _ in found if status["State"] == "pending"]
        return {node for status, node in found if status["State"] == "running"}, waiting

    refusal = f"no suitable node (host-mode port already in use on {nodes} nodes: 9100/tcp)"
    labs.wait(
        lambda: (len(placed()[0]), placed()[1]) == (nodes, [refusal]), "one task a node, and one that says why it waits"
    )


def test_the_ingress_network_is_removed_and_made_again_with_other_addresses(lab: LabCluster) -> None:
    shown = lab.json("network", "inspect", "ingress")[0]
    assert (shown["Ingress"], shown["IPAM"]["Config"][0]["Subnet"]) == (True, "10.0.0.0/24")
    assert len(shown["Peers"]) == len(lab.hosts)
    lab.service("web", "-p", "8080:80")
    task = lab.running("web", 1)[0]
    refused = lab.docker("network", "rm", "ingress", stdin=b"y\n", check=1)
    assert "ingress network cannot be removed because service web depends on it" in refused.err
    lab.docker("service", "update", "--publish-rm", "80", "web")
    lab.docker("network", "rm", "ingress", stdin=b"y\n")
    refused = lab.docker("service", "update", "-d", "--publish-add", "80:80", "web", check=1)
    assert "no ingress network is present" in refused.err
    try:
        options = (
            "--ingress",
            "--subnet",
            "10.77.0.0/16",
            "--gateway",
            "10.77.0.9",
            "-o",
            "com.docker.network.driver.mtu=1400",
        )
        lab.docker("network", "create", "-d", "overlay", *options, "mesh")
        refused = lab.docker("network", "create", "-d", "overlay", "--ingress", "another", check=1)
        assert "is already present" in refused.err
        lab.docker("service", "update", "--publish-add", "8080:80", "web")
        after = lab.running("web", 1)[0]
        assert after["ID"] == task["ID"]
        assert attached(after)["mesh"][0].startswith("10.77.")
        peers = labs.wait(
            lambda: lab.json("network", "inspect", "mesh")[0]["Peers"] or None, "the nodes to get their addresses"
        )
        assert peers
        lab.docker("service", "rm", "web")
    finally:
        lab.docker("network", "rm", "mesh", stdin=b"y\n", check=None)
        lab.docker("network", "create", "-d", "overlay", "--ingress", "ingress", check=None)


def test_a_network_has_both_families_and_services_too(lab: LabCluster) -> None:
    lab.docker(
        "network", "create", "-d", "overlay", "--ipv6", "--subnet", "10.60.0.0/24", "--subnet", "fd00:60::/64", "dual"
    )
    lab.service("web", "--network", "dual")
    task = lab.running("web", 1)[0]
    assert attached(task)["dual"] == ["10.60.0.3/24", "fd00:60::3/64"]
    lab.docker("network", "create", "-d", "overlay", "--ipv6", "own")
    configs = lab.json("network", "inspect", "own")[0]["IPAM"]["Config"]
    assert [config["Subnet"].endswith(end) for config, end in zip(configs, ("/24", "/64"), strict=True)] == [True, True]
    refused = lab.docker("network", "create", "-d", "overlay", "--subnet", "10.60.0.128/25", "over", check=1)
    assert "10.60.0.128/25 overlaps 10.60.0.0/24 of network dual" in refused.err


def test_services_run_on_the_networks_host_and_bridge(lab: LabCluster) -> None:
    lab.service("onhost", "--network", "host")
    lab.service("onbridge", "--network", "bridge")
    host, bridge = lab.running("onhost", 1)[0], lab.running("onbridge", 1)[0]
    assert "192.168.77." in lab.execute(host, "ip", "-4", "addr").out
    found = lab.execute(bridge, "ip", "-4", "-o", "addr").out
    assert "192.168.77." not in found
    assert "eth0" in found
    assert set(lab.docker("network", "ls", "--format", "{{.Name}}", "--filter", "scope=swarm").lines) == {"ingress"}
    refused = lab.docker("service", "create", "-d", "--network", "host", "-p", "80:80", IMAGE, check=1)
    assert "can't be used with the network host" in refused.err


def test_each_slot_keeps_its_fixed_address_across_updates(lab: LabCluster) -> None:
    network = lab.docker("network", "create", "-d", "overlay", "--subnet", "10.61.0.0/24", "fixed").out.strip()
    lab.service("db", "--network", "name=fixed,driver-opt=covey.addresses=10.61.0.50;10.61.0.51", "--replicas", "2")
    networks = lab.get("/services/db")["Spec"]["TaskTemplate"]["Networks"]
    assert networks == [
        {
            "Target": network,
            "Addresses": ["10.61.0.50", "10.61.0.51"],
            "DriverOpts": {"covey.addresses": "10.61.0.50;10.61.0.51"},
        }
    ]
    wanted = {1: ["10.61.0.50/24"], 2: ["10.61.0.51/24"]}
    assert {task["Slot"]: attached(task)["fixed"] for task in lab.running("db", 2)} == wanted
    before = {task["ID"] for task in lab.running("db", 2)}
    lab.docker("service", "update", "-d", "--force", "db")
    labs.wait(lambda: not before & {task["ID"] for task in lab.running("db", 2)}, "both tasks to be replaced")
    assert {task["Slot"]: attached(task)["fixed"] for task in lab.running("db", 2)} == wanted
    refused = lab.docker("service", "scale", "-d", "db=3", check=1)
    assert "3 replicas need as many fixed IPv4 addresses" in refused.err + refused.out
