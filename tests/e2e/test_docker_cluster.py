"""The docker client on the cluster itself: version, info, ping, swarm and node commands."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root


def test_version_and_negotiation(lab: LabCluster) -> None:
    shown = json.loads(lab.docker("version", "--format", "{{json .}}").out)
    assert shown["Client"]["ApiVersion"] == "1.50"
    assert shown["Server"]["ApiVersion"] == "1.50"
    assert shown["Server"]["MinAPIVersion"] == "1.24"
    assert shown["Server"]["Os"] == "linux"
    # an old client asks for a lower version
    environment = lab.environment() | {"DOCKER_API_VERSION": "1.41"}
    assert labs.run(["docker", "node", "ls", "-q"], env=environment).lines
    status, said = lab.request("GET", "/v1.99/version")
    assert status == 400
    assert "1.99" in said["message"]
    assert "1.50" in said["message"]
    status, said = lab.request("GET", "/v1.12/version")
    assert status == 400
    assert "1.24" in said["message"]


def test_ping_answers_on_every_host_without_a_version(lab: LabCluster) -> None:
    for host in lab.hosts:
        assert lab.get("/_ping", on=host) == "OK"
        assert lab.request("HEAD", "/_ping", on=host)[0] == 200


def test_info_shows_the_role_and_address_of_each_node(lab: LabCluster) -> None:
    for host in lab.hosts:
        info = json.loads(lab.docker("info", "--format", "{{json .}}", on=host).out)
        assert info["Name"] == host.name
        swarm = info["Swarm"]
        assert swarm["LocalNodeState"] == "active"
        assert swarm["NodeAddr"] == host.address
        assert swarm["ControlAvailable"] == (host in lab.managers)
        assert {manager["Addr"] for manager in swarm["RemoteManagers"]} == {f"{m.address}:2377" for m in lab.managers}
        if host in lab.managers:
            assert (swarm["Nodes"], swarm["Managers"]) == (5, 3)
    assert "Is Manager: true" in lab.docker("info", on=lab.managers[0]).out
    assert "Is Manager: false" in lab.docker("info", on=lab.workers[0]).out


def test_node_ls_shows_roles_and_filters(lab: LabCluster) -> None:
    rows = lab.docker(
        "node", "ls", "--format", "{{.Hostname}}|{{.Status}}|{{.Availability}}|{{.ManagerStatus}}|{{.Self}}"
    ).lines
    table = {row.split("|")[0]: row.split("|")[1:] for row in rows}
    assert set(table) == {host.name for host in lab.hosts}
    assert all(row[:2] == ["Ready", "Active"] for row in table.values())
    assert sorted(table[host.name][2] for host in lab.managers) == ["Leader", "Reachable", "Reachable"]
    assert {table[host.name][2] for host in lab.workers} == {""}
    assert [name for name, row in table.items() if row[3] == "true"] == [lab.managers[0].name]
    names = lab.docker("node", "ls", "--filter", "role=worker", "--format", "{{.Hostname}}").lines
    assert sorted(names) == [host.name for host in lab.workers]
    one = lab.workers[0]
    assert lab.docker("node", "ls", "-q", "--filter", f"name={one.name}").out.strip() == lab.node_id(one)
    assert lab.docker("node", "ls", "-q", "--filter", f"id={lab.node_id(one)[:12]}").out.strip() == lab.node_id(one)


def test_node_inspect_by_id_prefix_name_and_self(lab: LabCluster) -> None:
    host = lab.managers[1]
    identity = lab.node_id(host)
    for reference, on in ((identity, None), (identity[:10], None), (host.name, None), ("self", host)):
        (node,) = lab.json("node", "inspect", reference, on=on)
        assert node["ID"] == identity
        assert node["Description"]["Hostname"] == host.name
        assert node["Status"]["Addr"] == host.address
    assert host.name in lab.docker("node", "inspect", "--pretty", host.name).out
    refused = lab.docker("node", "inspect", "nobody", check=1)
    assert "nobody" in refused.err


def test_node_update_changes_labels_and_availability(lab: LabCluster) -> None:
    name = lab.workers[0].name
    try:
        lab.docker("node", "update", "--label-add", "a=1", "--label-add", "b=2", name)
        lab.docker("node", "update", "--label-rm", "a", "--availability", "pause", name)
        (node,) = lab.json("node", "inspect", name)
        assert node["Spec"]["Labels"] == {"b": "2"}
        assert node["Spec"]["Availability"] == "pause"
        assert lab.docker("node", "ls", "-q", "--filter", "node.label=b=2").out.strip() == node["ID"]
        assert (
            lab.docker("node", "ls", "--filter", f"name={name}", "--format", "{{.Availability}}").out.strip() == "Pause"
        )
    finally:
        lab.docker("node", "update", "--label-rm", "b", "--availability", "active", name)
    refused = lab.docker("node", "update", "--availability", "sometimes", name, check=1)
    assert "sometimes" in refused.err


def test_a_manager_cannot_be_removed(lab: LabCluster) -> None:
    refused = lab.docker("node", "rm", lab.managers[1].name, check=1)
    assert "manager" in refused.err, refused.err
    assert len(lab.nodes()) == 5


def test_a_worker_refuses_cluster_commands_as_not_a_manager(lab: LabCluster) -> None:
    worker = lab.workers[0]
    for command in (("node", "ls"), ("service", "ls"), ("secret", "ls"), ("swarm", "join-token", "worker")):
        refused = lab.docker(*command, on=worker, check=1)
        assert "This node is not a swarm manager" in refused.err, (command, refused.err)
    assert lab.request("GET", "/services", on=worker)[0] == 503


@pytest.fixture(scope="module")
def inactive_hosts(images: Path) -> Iterator[LabCluster]:
    """Two hosts that are in no cluster."""
    with labs.running_lab("young", 1, 1, init_cluster=False) as found:
        yield found


def test_swarm_init_join_update_rotate_and_leave(inactive_hosts: LabCluster) -> None:
    """One cluster from init to the last leave."""
    one, two = inactive_hosts.hosts
    assert inactive_hosts.get("/info", on=one)["Swarm"]["LocalNodeState"] == "inactive"
    refused = inactive_hosts.docker("node", "ls", on=one, check=1)
    assert "swarm" in refused.err
    assert "init" in refused.err

    said = inactive_hosts.docker(
        "swarm", "init", "--advertise-addr", "eth0", "--default-addr-pool", "10.42.0.0/16", on=one
    ).out
    assert "is now a manager" in said
    command = next(line.split() for line in said.splitlines() if "docker swarm join --token" in line)
    assert command[-1] == f"{one.address}:2377"
    joined = inactive_hosts.docker(*command[1:], on=two).out
    assert "This node joined a swarm as a worker." in joined
    assert labs.wait(lambda: len(inactive_hosts.nodes(one)) == 2, "the worker to join")

    swarm = inactive_hosts.get("/swarm", on=one)
    assert re.fullmatch(r"SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}", swarm["JoinTokens"]["Worker"])
    assert swarm["DefaultAddrPool"] == ["10.42.0.0/16"]
    inactive_hosts.docker("network", "create", "-d", "overlay", "pooled", on=one)
    (network,) = inactive_hosts.json("network", "inspect", "pooled", on=one)
    assert network["IPAM"]["Config"][0]["Subnet"].startswith("10.42.")

    inactive_hosts.docker("swarm", "update", "--task-history-limit", "2", "--dispatcher-heartbeat", "2s", on=one)
    spec = inactive_hosts.get("/swarm", on=one)["Spec"]
    assert spec["Orchestration"]["TaskHistoryRetentionLimit"] == 2
    assert spec["Dispatcher"]["HeartbeatPeriod"] == 2_000_000_000
    for role in ("worker", "manager"):
        before = inactive_hosts.docker("swarm", "join-token", "-q", role, on=one).out
        assert "Successfully rotated" in inactive_hosts.docker("swarm", "join-token", "--rotate", role, on=one).out
        assert inactive_hosts.docker("swarm", "join-token", "-q", role, on=one).out != before
    assert "BEGIN CERTIFICATE" in inactive_hosts.docker("swarm", "ca", on=one).out

    assert "Node left the swarm." in inactive_hosts.docker("swarm", "leave", on=two).out
    refused = inactive_hosts.docker("swarm", "leave", on=two, check=1)
    assert "not part of a swarm" in refused.err
    refused = inactive_hosts.docker("swarm", "leave", on=one, check=1)
    assert "--force" in refused.err
    inactive_hosts.docker("swarm", "leave", "--force", on=one)
    assert inactive_hosts.get("/info", on=one)["Swarm"]["LocalNodeState"] == "inactive"
    # No state is left, and a new cluster can be created at once.
    for host in (one, two):
        assert not (host.state_dir / "manager").exists()
        assert not (host.state_dir / "identity").exists()
    inactive_hosts.docker("swarm", "init", "--advertise-addr", one.address, on=one)
    assert inactive_hosts.get("/networks", on=one) != []
    assert "pooled" not in inactive_hosts.docker("network", "ls", "--format", "{{.Name}}", on=one).lines
    inactive_hosts.docker("swarm", "leave", "--force", on=one)
