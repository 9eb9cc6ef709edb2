"""Encrypted overlay networks on a lab of three hosts: what containers and users see of them."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.network.netns import Namespace
from node.lab import cluster
from tests.support import labs
from tests.support.labs import IMAGE, LabCluster, wait

pytestmark = pytest.mark.root
SECRET = "attack-at-dawn"
NETWORK = "sealed"
FETCH = ("timeout", "3", "wget", "-q", "-O", "-")
SERVE = ("sh", "-c", f"echo {SECRET} > /www/index.html; exec httpd -f -p 80 -h /www")


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("enc", 1, 2, archive=images) as running:
        running.docker("network", "create", "-d", "overlay", "--attachable", "--opt", "encrypted", NETWORK)
        yield running


@pytest.fixture(scope="module")
def tasks(lab: LabCluster) -> list[dict[str, Any]]:
    lab.service("web", "--mode", "global", "--network", NETWORK, command=SERVE)
    return lab.running("web", 3)


def address_of(task: dict[str, Any]) -> str:
    return str(task["NetworksAttachments"][0]["Addresses"][0]).split("/")[0]


def fetch(lab: LabCluster, task: dict[str, Any], address: str) -> str:
    return lab.execute(task, *FETCH, f"http://{address}/", check=None).out.strip()


@contextlib.contextmanager
def seen_on_the_switch(lab: LabCluster) -> Iterator[list[bytes]]:
    """Every frame between the hosts during the block."""
    namespace = Namespace(f"/run/netns/{lab.lab.switch}")
    frames: list[bytes] = []
    found = namespace.run(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003)))
    found.settimeout(0.1)
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                frames.append(found.recv(65536))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield frames
    finally:
        ended.set()
        reader.join()
        found.close()
        namespace.close()


def test_containers_reach_each_other_and_nobody_else_reads_it(lab: LabCluster, tasks: list[dict[str, Any]]) -> None:
    with seen_on_the_switch(lab) as frames:
        for one in tasks:
            for other in tasks:
                wait(lambda one=one, other=other: fetch(lab, one, address_of(other)) == SECRET, "an answer")
        for one in tasks:
            wait(lambda one=one: fetch(lab, one, "web") == SECRET, "an answer of the service")
    assert any(b"HTTP" not in frame and len(frame) > 150 for frame in frames)
    assert not any(SECRET.encode() in frame for frame in frames)


def test_inspection_says_what_encrypts_on_each_node(lab: LabCluster, tasks: list[dict[str, Any]]) -> None:
    (network,) = lab.json("network", "inspect", "--verbose", NETWORK)
    assert {peer["Name"] for peer in network["Peers"]} == {task["NodeID"] for task in tasks}
    assert {peer["Encryption"] for peer in network["Peers"]} <= {"kernel", "wireguard-go"}


def test_a_crash_of_the_daemon_loses_no_packet(lab: LabCluster) -> None:
    """The node is DOWN before its daemon is back. Tasks would be replaced then, so these are containers of the hosts."""
    here, there = lab[2], lab[3]
    for host in (here, there):
        lab.docker("run", "-d", "--name", "alone", "--network", NETWORK, IMAGE, *SERVE, on=host)
    address = lab.json("inspect", "alone", on=there)[0]["NetworkSettings"]["Networks"][NETWORK]["IPAddress"]
    wait(
        lambda: lab.docker("exec", "alone", *FETCH, f"http://{address}/", on=here, check=None).out.strip() == SECRET,
        "an answer",
    )
    rounds = f"while [ ! -e /tmp/over ]; do ping -q -c 10 -i 0.1 -W 5 {address} | grep transmitted; done"
    pings: list[str] = []

    def ping() -> None:
        pings.extend(lab.docker("exec", "alone", "sh", "-c", rounds, on=here).lines)

    pinging = threading.Thread(target=ping)
    pinging.start()
    try:
        cluster.crash(there)
        wait(lambda: lab.nodes()[there.name]["Status"]["State"] == "down", "the node to be DOWN")
        lab.start(there)
        lab.wait_ready()
        wait(lambda: not lab.get("/covey/network/verify", on=there)["Differences"], "nothing differs")
    finally:
        lab.docker("exec", "alone", "touch", "/tmp/over", on=here)
        pinging.join()
    assert len(pings) > 2
    assert {line.split(", ", 1)[1] for line in pings} == {"10 packets received, 0% packet loss"}
    for host in (here, there):
        lab.docker("rm", "-f", "alone", on=host)


def test_the_kernels_state_is_as_wanted(lab: LabCluster, tasks: list[dict[str, Any]]) -> None:
    assert len(tasks) == 3
    for host in lab.hosts:
        wait(lambda host=host: not lab.get("/covey/network/verify", on=host)["Differences"], "nothing differs")


def test_the_device_goes_with_the_last_task(lab: LabCluster, tasks: list[dict[str, Any]]) -> None:
    assert tasks
    lab.docker("service", "rm", "web")
    for host in lab.hosts:
        wait(lambda host=host: "-wg" not in lab.inside(host, "ip", "-o", "link").out, f"no device on {host.name}")
    lab.docker("network", "rm", NETWORK)


def test_tasks_go_to_nodes_with_wireguard_and_service_ps_says_why_not(lab: LabCluster, tmp_path: Path) -> None:
    able, unable = lab[2], lab[3]
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in reversed(os.environ["PATH"].split(":")):
        for program in Path(folder).glob("*"):
            (programs / program.name).unlink(missing_ok=True)
            if program.name not in {"wg", "wireguard-go"}:
                (programs / program.name).symlink_to(program)
    unable.environment_file.write_text(f"PATH={programs}\n")
    cluster.crash(unable)
    try:
        lab.start(unable)
        lab.wait_ready()
        lab.docker("network", "create", "-d", "overlay", "--opt", "encrypted", "closed")
        workers = ("--network", "closed", "--constraint", "node.role==worker")
        lab.service("both", "--replicas", "4", *workers)
        assert {host.name for host in lab.hosts_of(lab.running("both", 4))} == {able.name}
        lab.service("none", "--network", "closed", "--constraint", f"node.hostname=={unable.name}")
        reason = "no WireGuard for encrypted networks on 1 node"
        wait(lambda: reason in lab.docker("service", "ps", "--no-trunc", "none").out, "the reason in service ps")
    finally:
        unable.environment_file.unlink()
        cluster.crash(unable)
        lab.start(unable)
    lab.running("none", 1)
    lab.docker("service", "rm", "both", "none")
