"""The routing mesh on a lab of three: every position reaches the service through every node, and the task sees the client's address."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from agent.network import managed_firewall
from agent.network.firewall import ForwardChain, warning_text
from agent.network.netns import Namespace
from node.lab import host as machine
from tests.support import labs, load_client, loopback_intruder
from tests.support.echo_services import (
    MOUNTS,
    OUTSIDE,
    SERVER,
    address_of,
    in_container,
    on_host,
    outside,
    publish,
    seen,
)
from tests.support.labs import IMAGE, LabCluster, unique, wait

pytestmark = pytest.mark.root
HEALTHY = "/usr/bin/python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 80))'"
REPLICAS = 10
BOTH_KINDS = pytest.mark.parametrize("kind", ["tcp", "udp"])
BOTH_FAMILIES = pytest.mark.parametrize("family", [4, 6])


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("mesh", 1, 2, archive=images) as running:
        publish(running, "web", 8080, "--constraint", f"node.hostname=={running[3].name}")
        yield running


@pytest.fixture(scope="module")
def neighbours(lab: LabCluster) -> dict[int, str]:
    """A container on each host, by the host's number."""
    found = {}
    for number, host in enumerate(lab.hosts, 1):
        found[number] = lab.docker("run", "-d", "--init", IMAGE, *labs.SLEEP, on=host).out.strip()
    return found


@BOTH_KINDS
@BOTH_FAMILIES
@pytest.mark.parametrize("entry", [1, 2, 3])
def test_a_client_outside_is_seen_with_its_address_through_every_node(
    lab: LabCluster, kind: str, family: int, entry: int
) -> None:
    assert seen(outside(lab, kind, address_of(lab[entry], family), 8080)) == OUTSIDE[family]


@BOTH_KINDS
@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_programs_of_every_node_reach_it_on_loopback_and_on_every_address(
    lab: LabCluster, kind: str, number: int
) -> None:
    other = lab[number % 3 + 1]
    for address in ("127.0.0.1", "::1", lab[number].address, lab[number].address6, other.address, other.address6):
        assert seen(on_host(lab, lab[number], kind, address, 8080)), address


@BOTH_KINDS
@BOTH_FAMILIES
def test_the_task_itself_reaches_it_through_every_node(lab: LabCluster, kind: str, family: int) -> None:
    (task,) = lab.running("web", 1)
    container = lab.container(task)
    for entry in lab.hosts:
        assert seen(in_container(lab, lab[3], container, kind, address_of(entry, family), 8080)), entry.name


@BOTH_KINDS
@pytest.mark.parametrize("number", [1, 3])
def test_containers_of_every_node_reach_it(lab: LabCluster, neighbours: dict[int, str], kind: str, number: int) -> None:
    for entry in lab.hosts:
        assert seen(in_container(lab, lab[number], neighbours[number], kind, entry.address, 8080)), entry.name


def test_large_replies_pass_although_icmp_is_blocked(lab: LabCluster) -> None:
    code = (
        "import socket, sys\n"
        "s = socket.create_connection((sys.argv[1], 8080), timeout=10); s.sendall(b'1000000 bytes')\n"
        "left = 1000000\n"
        "while left: left -= len(s.recv(65536)) or sys.exit('closed')\n"
        "print('done')"
    )
    rules = (
        "add table inet mtu; add chain inet mtu come { type filter hook input priority -5; }; "
        "add chain inet mtu go { type filter hook output priority -5; }; "
        "add rule inet mtu come icmp type destination-unreachable drop; "
        "add rule inet mtu come icmpv6 type packet-too-big drop; "
        "add rule inet mtu go icmp type destination-unreachable drop; "
        "add rule inet mtu go icmpv6 type packet-too-big drop"
    )
    for host in lab.hosts:
        lab.inside(host, "nft", rules)
    try:
        for address in (lab[1].address, lab[1].address6, lab[3].address):
            assert lab.outside(sys.executable, "-c", code, address).out == "done\n"
    finally:
        for host in lab.hosts:
            lab.inside(host, "nft", "delete table inet mtu")


@pytest.mark.parametrize("managed", [False, True], ids=["commands", "managed"])
def test_the_mesh_passes_firewalls_by_the_commands_of_the_warning_or_by_managed_rules(
    lab: LabCluster, managed: bool
) -> None:
    """The entry node and the task's node drop what they forward, and then allow what the warning names, or get rules of ours."""
    chain = ForwardChain("inet", "own", "through")
    commands = warning_text("covey0", chain).partition("Allow them: ")[2].replace("nft ", "")
    hosts = (lab[1], lab[3])
    for host in hosts:
        hook = "{ type filter hook forward priority 0; policy drop; }"
        lab.inside(host, "nft", f"add table inet own; add chain inet own through {hook}")
    try:
        assert outside(lab, "tcp", lab[1].address, 8080).startswith("error")
        for host in hosts:
            if managed:
                namespace = Namespace(f"/proc/{machine.init_pid(host)}/ns/net")
                assert managed_firewall.apply(namespace, "covey0", wanted=True) == ("inet own through",)
                namespace.close()
            else:
                lab.inside(host, "nft", commands)
        for kind in ("tcp", "udp"):
            for entry in hosts:
                assert seen(outside(lab, kind, entry.address, 8080)) == OUTSIDE[4]
                assert seen(outside(lab, kind, entry.address6, 8080)) == OUTSIDE[6]
    finally:
        for host in hosts:
            lab.inside(host, "nft", "delete table inet own")


def test_a_task_reaches_no_program_of_its_host_by_loopback_addresses(lab: LabCluster) -> None:
    """The task's device carries loopback addresses, for the programs of the host that use the mesh on 127.0.0.1."""
    (task,) = lab.running("web", 1)
    (shown,) = lab.json("inspect", lab.container(task), on=lab[3])
    route = lab.inside(
        lab[3], "nsenter", "-t", str(shown["State"]["Pid"]), "-n", "ip", "-o", "route", "get", OUTSIDE[4]
    ).out
    words = route.split()
    device, own = (words[words.index(name) + 1] for name in ("dev", "src"))
    listener = machine.command_inside(lab[3], [sys.executable, "-c", loopback_intruder.LISTENER, "127.0.0.1", "9191"])
    outer = lab.inside(lab[3], "ip", "-o", "route", "get", own).out.split()
    mac = lab.inside(lab[3], "cat", f"/sys/class/net/{outer[outer.index('dev') + 1]}/address").out.strip()
    with labs.conversation(listener) as say:
        wait(lambda: "9191" in lab.inside(lab[3], "ss", "-Huln").out, "the listener")
        send = loopback_intruder.command(device, mac, own, "127.0.0.1", 9191)
        lab.inside(lab[3], "nsenter", "-t", str(shown["State"]["Pid"]), "-n", *send)
        lab.inside(lab[3], sys.executable, "-c", loopback_intruder.OWN, "127.0.0.1", "9191")
        assert say("what arrived") == "own"


def test_a_drained_node_answers_and_a_service_without_tasks_refuses_at_once(lab: LabCluster) -> None:
    lab.docker("node", "update", "--availability", "drain", lab[2].name)
    assert seen(outside(lab, "tcp", lab[2].address, 8080)) == OUTSIDE[4]
    lab.docker("node", "update", "--availability", "active", lab[2].name)
    name = unique("empty")
    publish(lab, name, 8090)
    lab.docker("service", "scale", "-d", f"{name}=0")
    wait(lambda: "refused" in outside(lab, "tcp", lab[1].address, 8090), "the port without tasks refuses")
    lab.docker("service", "rm", name)


def test_connections_take_turns_over_all_tasks(lab: LabCluster) -> None:
    name = unique("many")
    publish(lab, name, 8091, replicas=3)
    wait(
        lambda: len({outside(lab, "tcp", lab[1].address, 8091).split()[0] for _ in range(6)}) == 3,
        "all three tasks answer",
    )
    lab.docker("service", "rm", name)


def test_a_publication_changes_without_a_restart_of_the_task(lab: LabCluster) -> None:
    name = unique("moved")
    publish(lab, name, 8092)
    (before,) = lab.running(name, 1)
    address = lab.host_of(before).address
    lab.docker("service", "update", "-q", "-d", "--publish-rm", "80/tcp", "--publish-add", "8093:80", name)
    wait(lambda: not outside(lab, "tcp", lab[1].address, 8093).startswith("error"), "the new port answers")
    wait(lambda: "refused" in outside(lab, "tcp", lab[1].address, 8092), "the old port does not")
    lab.docker("service", "update", "-q", "-d", "--publish-rm", "80/tcp", name)
    wait(lambda: outside(lab, "tcp", lab[1].address, 8093).startswith("error"), "no port answers")
    for port, options in ((8098, "mode=host,published=8098,target=80"), (8099, "published=8099,target=80")):
        lab.docker("service", "update", "-q", "-d", "--publish-add", options, name)
        wait(partial(answers_at, lab, address, port), f"{port} answers")
    (after,) = lab.running(name, 1)
    assert after["ID"] == before["ID"]
    lab.docker("service", "rm", name)


def test_a_port_of_another_service_is_refused_with_its_name(lab: LabCluster) -> None:
    refused = lab.docker("service", "create", "-d", "-p", "8080:80", IMAGE, *labs.SLEEP, check=1).err
    assert "port '8080' is already in use by service 'web'" in refused


def test_a_program_keeps_its_port_on_a_node_and_the_node_says_so(lab: LabCluster) -> None:
    name = unique("late")
    with lab.serving(lab[2], sys.executable, SERVER, "8094", "until-stdin-closes"):
        lab.docker("service", "create", "-q", "-d", "--name", name, "-p", "8094:80", IMAGE, *labs.SLEEP)
        wait(
            lambda: "8094/tcp" in lab.docker("info", on=lab[2]).err + lab.docker("info", on=lab[2]).out,
            "the node warns",
        )
        assert outside(lab, "tcp", lab[2].address, 8094).startswith(lab[2].name)
    lab.docker("service", "rm", name)


def test_ports_in_mode_host_are_on_the_tasks_node_only(lab: LabCluster) -> None:
    name = unique("direct")
    mounts = [word for mount in MOUNTS for word in ("--mount", mount)]
    lab.docker("service", "create", "-q", "-d", "--name", name, "--publish", "mode=host,published=8095,target=80",
               "--constraint", f"node.hostname=={lab[2].name}", *mounts, IMAGE, "/usr/bin/python3", "/echo.py", "80")  # fmt: skip
    lab.running(name, 1)
    wait(lambda: seen_or_empty(outside(lab, "tcp", lab[2].address, 8095)) == OUTSIDE[4], "the task's node answers")
    assert outside(lab, "tcp", lab[1].address, 8095).startswith("error")
    assert "*:8095->80/tcp" in lab.docker("service", "ps", name, "--format", "{{.Ports}}").out
    (before,) = lab.running(name, 1)
    moved = "mode=host,published=8097,target=80"
    lab.docker("service", "update", "-q", "-d", "--publish-rm", "mode=host,target=80", "--publish-add", moved, name)
    wait(lambda: seen_or_empty(outside(lab, "tcp", lab[2].address, 8097)) == OUTSIDE[4], "the new port answers")
    assert outside(lab, "tcp", lab[2].address, 8095).startswith("error")
    wait(
        lambda: "*:8097->80/tcp" in lab.docker("service", "ps", name, "--format", "{{.Ports}}").out,
        "the new port is shown",
    )
    (after,) = lab.running(name, 1)
    assert after["ID"] == before["ID"]
    lab.docker("service", "rm", name)


def answers_at(lab: LabCluster, address: str, port: int) -> bool:
    return not outside(lab, "tcp", address, port).startswith("error")


def seen_or_empty(answer: str) -> str:
    return "" if answer.startswith("error") else answer.split()[1]


def test_a_connection_outlives_the_daemons_of_its_nodes(lab: LabCluster) -> None:
    code = (
        "import socket, sys\n"
        f"s = socket.create_connection(('{lab[2].address}', 8080)); s.settimeout(5)\n"
        "for line in sys.stdin: s.sendall(b'who'); print(s.recv(100).decode().strip(), flush=True)\n"
    )
    with labs.conversation(["ip", "netns", "exec", lab.lab.switch, sys.executable, "-c", code]) as say:
        assert seen(say("before")) == OUTSIDE[4]
        for host in (lab[2], lab[3]):
            labs.machine.crash_daemon(host)
        assert seen(say("down")) == OUTSIDE[4]
        assert seen(outside(lab, "tcp", lab[2].address, 8080)) == OUTSIDE[4]
        lab.start(lab[2], lab[3])
        lab.wait_ready()
        assert seen(say("after")) == OUTSIDE[4]
    wait(
        lambda: seen_or_empty(outside(lab, "tcp", lab[2].address, 8080)) == OUTSIDE[4], "new connections reach the task"
    )


LATE_CLIENT = """
import socket, sys
asking = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in sys.argv[2:]]
for one, address in zip(asking, sys.argv[2:]):
    one.settimeout(15)
    one.connect((address, int(sys.argv[1])))
    one.send(b"wait 4")
print(*(one.getsockname()[1] for one in asking), flush=True)
for one in asking:
    print(one.recv(4096).decode().split()[1], flush=True)
"""


def test_the_late_reply_of_a_leaving_task_reaches_a_connected_client(lab: LabCluster) -> None:
    """Its flow has moved by then, on the task's own node and on another. Seen as: the container's reply was masqueraded on its own node."""
    name = unique("late")
    mounts = [word for mount in MOUNTS for word in ("--mount", mount)]
    lab.service(name, "--constraint", f"node.hostname=={lab[3].name}", "-p", "8097:80/udp", "--stop-signal", "SIGUSR1",
                "--stop-grace-period", "20s", *mounts,
                command=("sh", "-c", "trap '' USR1; exec /usr/bin/python3 /echo.py 80"))  # fmt: skip
    lab.running(name, 1)
    entries = (lab[1], lab[3])
    for host in entries:
        wait(lambda host=host: not outside(lab, "udp", host.address, 8097).startswith("error"), "an answer")
    command = ["ip", "netns", "exec", lab.lab.switch, sys.executable, "-c", LATE_CLIENT, "8097"]
    with subprocess.Popen([*command, *(host.address for host in entries)], stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        ports = client.stdout.readline().split()
        lab.docker("service", "scale", "-d", f"{name}=0")
        for host, port in zip(entries, ports, strict=True):
            flow = f"sport={port} dport=8097 "
            wait(
                lambda host=host, flow=flow: flow not in lab.inside(host, "cat", "/proc/net/nf_conntrack").out, "a move"
            )
        answers = client.communicate(timeout=30)[0].split()
    assert answers == [OUTSIDE[4]] * len(entries)
    lab.docker("service", "rm", name)


def failures_of_an_update(lab: LabCluster, name: str) -> list[str]:
    """Replace all tasks of a service while a client asks all the time. Returns the requests that failed."""
    command = ["ip", "netns", "exec", lab.lab.switch, sys.executable, str(Path(load_client.__file__)), "8096"]
    before = {task["ID"] for task in lab.running(name, REPLICAS)}
    with subprocess.Popen(
        [*command, *(host.address for host in lab.hosts)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "serves\n"
        lab.docker("service", "update", "-q", "--force", name)
        after = {task["ID"] for task in lab.running(name, REPLICAS)}
        *failures, counts = client.communicate(timeout=30)[0].splitlines()
    assert all(int(count) > 30 for count in counts.split()), counts
    assert not before & after
    return failures


def test_a_rolling_update_under_load_loses_no_request(lab: LabCluster) -> None:
    """Neither a connection nor a datagram of a connected socket, which accepts answers from the address alone that it sends to."""
    name = unique("rolling")
    publish(lab, name, 8096, "--stop-signal", "SIGKILL", "--update-parallelism", "4", "--update-delay", "0s",
            "--update-monitor", "1s", "--health-cmd", HEALTHY, "--health-interval", "500ms", replicas=REPLICAS)  # fmt: skip
    assert not failures_of_an_update(lab, name)
    lab.docker("service", "rm", name)
