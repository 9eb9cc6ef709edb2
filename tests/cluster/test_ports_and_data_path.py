"""Ports and addresses that users choose: ListenAddr with any port, DataPathPort and DataPathAddr, on three hosts."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab import cluster
from tests.support import labs
from tests.support.labs import SLEEP, LabCluster

pytestmark = pytest.mark.root
JOIN, MTLS, DATA = 4500, 4501, 5789


@pytest.fixture(scope="module")
def hosts(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("ports", 2, 1, init_cluster=False, archive=images) as lab:
        yield lab


def test_any_listen_port_and_data_path_carry_a_cluster(hosts: LabCluster) -> None:
    """Init listens at 4500 and 4501 beside it, a manager joins with another port, and containers of two hosts reach each other over VXLAN
    at port 5789 between second addresses.
    """
    first, second, worker = hosts.hosts
    for number, host in enumerate(hosts.hosts, 1):
        hosts.inside(host, "ip", "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
    labs.run(
        ["docker", "swarm", "init", "--listen-addr", f"0.0.0.0:{JOIN}", "--advertise-addr", first.address,
         "--data-path-port", str(DATA), "--data-path-addr", "10.77.0.1"],
        env=hosts.environment(first),
    )  # fmt: skip
    listening = hosts.inside(first, "ss", "-ltn").out
    assert {str(JOIN), str(MTLS)} <= set(re.findall(r":(\d+)\s", listening))
    assert not re.search(r":2377\s", listening)
    said = hosts.docker("swarm", "join-token", "manager", on=first).out
    assert f"{first.address}:{JOIN}" in said
    tokens = {
        role: hosts.docker("swarm", "join-token", "-q", role, on=first).out.strip() for role in ("manager", "worker")
    }
    hosts.docker(
        "swarm", "join", "--token", tokens["manager"], "--listen-addr", f"{second.address}:7100",
        "--data-path-addr", "10.77.0.2", f"{first.address}:{JOIN}", on=second,
    )  # fmt: skip
    hosts.docker(
        "swarm",
        "join",
        "--token",
        tokens["worker"],
        "--data-path-addr",
        "10.77.0.3",
        f"{second.address}:7100",
        on=worker,
    )
    info = hosts.get("/info", on=worker)["Swarm"]
    assert {peer["Addr"] for peer in info["RemoteManagers"]} == {f"{first.address}:{JOIN}", f"{second.address}:7100"}
    swarm = hosts.get("/swarm", on=first)
    assert swarm["DataPathPort"] == DATA
    hosts.docker("network", "create", "-d", "overlay", "net", on=first)
    hosts.service("a", "--network", "net", "--mode", "global", command=SLEEP)
    tasks = hosts.running("a", 3)
    names = [task["NetworksAttachments"][0]["Addresses"][0].split("/")[0] for task in tasks]
    labs.wait(
        lambda: all(hosts.execute(tasks[0], "ping", "-c1", "-W1", name, check=None).code == 0 for name in names),
        "containers of three hosts reach each other",
    )
    network = hosts.get("/networks/net", on=first)["Id"]
    device = hosts.inside(worker, "nsenter", f"--net=/run/covey/netns/networks/{network}", "ip", "-d", "link").out
    assert f"dstport {DATA}" in device
    assert "local 10.77.0.3" in device


def test_the_ports_survive_a_restart(hosts: LabCluster) -> None:
    first = hosts.hosts[0]
    cluster.crash(first)
    cluster.start(hosts.lab, first)
    labs.wait(lambda: hosts.get("/info", on=first)["Swarm"]["ControlAvailable"], "the manager serves again")
    listening = labs.wait(lambda: f":{JOIN} " in hosts.inside(first, "ss", "-ltn").out, "the join port is open again")
    assert listening


def test_a_join_whose_port_is_busy_leaves_no_node_behind(hosts: LabCluster) -> None:
    """A manager's join was refused by its own host after the cluster had recorded a node, which stayed in the list without a name."""
    first, second, worker = hosts.hosts
    token = hosts.docker("swarm", "join-token", "-q", "manager", on=first).out.strip()
    hosts.docker("swarm", "leave", on=worker)
    before = len(hosts.get("/nodes", on=first))
    script = "import socket; s = socket.socket(); s.bind(('0.0.0.0', 2377)); s.listen(); print('serves', flush=True); input()"
    with hosts.serving(worker, str(labs.PYTHON_BIN / "python"), "-c", script):
        said = hosts.docker("swarm", "join", "--token", token, f"{first.address}:{JOIN}", on=worker, check=1)
    assert "port 2377 is in use on this host" in said.err
    assert "GRPC" not in said.err
    assert len(hosts.get("/nodes", on=first)) == before
