"""Published ports of single containers on a lab of one: reachable from everywhere, with the client's address, and gone with the container."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from node.lab import host as machine
from tests.support import echo_client, echo_server, labs, loopback_intruder
from tests.support.labs import IMAGE, LabCluster, unique, wait

pytestmark = pytest.mark.root
SERVER, CLIENT = str(Path(echo_server.__file__)), str(Path(echo_client.__file__))
SYSTEM = [
    f"--volume={path}:{path}:ro" for path in ("/usr", "/lib", "/lib64", "/etc/ld.so.cache") if Path(path).exists()
]
OUTSIDE, HOST = "192.168.77.254", "192.168.77.1"
OUTSIDE6, HOST6 = "fd00:77::fe", "fd00:77::1"


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("ports", 1, init_cluster=False, archive=images) as running:
        yield running


@pytest.fixture(scope="module")
def server(lab: LabCluster) -> str:
    """A container that tells every client who it looks like, published for TCP and UDP."""
    return serve(lab, "-p", "8080:80", "-p", "8080:80/udp", "-p", "127.0.0.1:8081:80")


def serve(lab: LabCluster, *options: str) -> str:
    name = unique("echo")
    lab.docker("run", "-d", "--init", "--name", name, "--hostname", name, f"--volume={SERVER}:/echo.py:ro", *SYSTEM, *options,
               IMAGE, "/usr/bin/python3", "/echo.py", "80")  # fmt: skip
    wait(lambda: inside(lab, name, "tcp", "127.0.0.1", 80).startswith(name), f"{name} serves")
    return name


def inside(lab: LabCluster, container: str, kind: str, address: str, port: int) -> str:
    """The answer to a client in a container."""
    pid = lab.docker("inspect", "--format", "{{.State.Pid}}", container).out.strip()
    return lab.inside(lab[1], "nsenter", "-t", pid, "-n", sys.executable, CLIENT, kind, address, str(port)).out.strip()


def outside(lab: LabCluster, kind: str, address: str, port: int) -> str:
    return lab.outside(sys.executable, CLIENT, kind, address, str(port)).out.strip()


def on_host(lab: LabCluster, kind: str, address: str, port: int) -> str:
    return lab.inside(lab[1], sys.executable, CLIENT, kind, address, str(port)).out.strip()


def ports_of(lab: LabCluster, name: str) -> dict[str, Any]:
    return dict(lab.json("inspect", name)[0]["NetworkSettings"]["Ports"])


@pytest.mark.parametrize("kind", ["tcp", "udp", "udp-unconnected"])
def test_a_client_outside_is_seen_with_its_own_address(lab: LabCluster, server: str, kind: str) -> None:
    name, address, _ = outside(lab, kind, HOST, 8080).split()
    assert (name, address) == (server, OUTSIDE)


@pytest.mark.parametrize("kind", ["tcp", "udp", "udp-unconnected"])
@pytest.mark.parametrize("address", ["127.0.0.1", HOST])
def test_the_hosts_own_programs_reach_it(lab: LabCluster, server: str, kind: str, address: str) -> None:
    assert on_host(lab, kind, address, 8080).startswith(server)


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_the_hosts_own_programs_reach_it_on_ipv6_loopback(lab: LabCluster, server: str, kind: str) -> None:
    assert on_host(lab, kind, "::1", 8080).startswith(server)


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_the_container_itself_and_its_neighbours_reach_it(lab: LabCluster, server: str, kind: str) -> None:
    neighbour = serve(lab)
    for container in (server, neighbour):
        assert inside(lab, container, kind, HOST, 8080).startswith(server)
    lab.docker("rm", "-f", neighbour)


def test_a_port_on_loopback_is_not_reached_from_outside(lab: LabCluster, server: str) -> None:
    assert on_host(lab, "tcp", "127.0.0.1", 8081).startswith(server)
    assert outside(lab, "tcp", HOST, 8081).startswith("error")
    lab.outside("ip", "route", "add", "127.0.0.9/32", "via", HOST, check=None)
    assert outside(lab, "tcp", "127.0.0.9", 8080).startswith("error")


@pytest.mark.parametrize(
    ("source", "destination", "listens"), [("", "127.0.0.1", "127.0.0.1"), ("127.0.0.2", "172.17.0.1", "0.0.0.0")]
)
def test_a_container_reaches_no_program_of_the_host_by_loopback_addresses(
    lab: LabCluster, server: str, source: str, destination: str, listens: str
) -> None:
    """The bridge carries loopback addresses, for the host's own programs. One datagram that gets in is too many, answered or not."""
    (shown,) = lab.json("inspect", server)
    inside_container = ("nsenter", "-t", str(shown["State"]["Pid"]), "-n")
    mac = lab.inside(lab[1], "cat", "/sys/class/net/covey0/address").out.strip()
    own = source or str(shown["NetworkSettings"]["Networks"]["bridge"]["IPAddress"])
    listener = machine.command_inside(lab[1], [sys.executable, "-c", loopback_intruder.LISTENER, listens, "9191"])
    with labs.conversation(listener) as say:
        wait(lambda: "9191" in lab.inside(lab[1], "ss", "-Huln").out, "the listener")
        lab.inside(lab[1], *inside_container, *loopback_intruder.command("eth0", mac, own, destination, 9191))
        lab.inside(lab[1], sys.executable, "-c", loopback_intruder.OWN, destination, "9191")
        assert say("what arrived") == "own"


def test_what_was_published_is_shown_everywhere(lab: LabCluster, server: str) -> None:
    assert ports_of(lab, server)["80/tcp"][0] == {"HostIp": "0.0.0.0", "HostPort": "8080"}
    assert lab.docker("port", server, "80/udp").out.splitlines()[0] == "0.0.0.0:8080"
    listed = lab.docker("ps", "--filter", f"name={server}", "--format", "{{.Ports}}").out
    assert "0.0.0.0:8080->80/tcp" in listed
    assert "127.0.0.1:8081->80/tcp" in listed
    assert lab.docker("ps", "-q", "--filter", "publish=80").out


def test_a_port_of_another_container_or_program_is_refused_with_its_owner(lab: LabCluster, server: str) -> None:
    refused = lab.docker("run", "--name", "late", "-p", "8080:80", IMAGE, "true", check=125).err
    assert f"Bind for 0.0.0.0:8080 failed: port is already allocated (by {server})" in refused
    lab.docker("rm", "late")
    with lab.serving(lab[1], sys.executable, SERVER, "9090", "until-stdin-closes"):
        refused = lab.docker("run", "--rm", "-p", "9090:80", IMAGE, "true", check=125).err
        assert "failed to bind host port 0.0.0.0:9090/tcp: address already in use (by python" in refused


def test_a_program_cannot_take_a_published_port(lab: LabCluster, server: str) -> None:
    code = "import socket; socket.create_server(('0.0.0.0', 8080))"
    assert "Address already in use" in lab.inside(lab[1], sys.executable, "-c", code, check=1).err


def test_ranges_drawn_ports_and_all_exposed_ports(lab: LabCluster) -> None:
    first = serve(lab, "-p", "7000-7001:80", "-p", "7010-7011:90-91", "-p", "80", "--expose", "99", "-P")
    shown = ports_of(lab, first)
    assert [shown[port][0]["HostPort"] for port in ("90/tcp", "91/tcp")] == ["7010", "7011"]
    numbers = {item["HostPort"] for item in shown["80/tcp"]}
    assert "7000" in numbers
    drawn = (numbers - {"7000"}).pop()
    assert 32768 <= int(drawn) <= 60999
    assert shown["99/tcp"][0]["HostPort"] != drawn
    assert outside(lab, "tcp", HOST, int(drawn)).startswith(first)
    second = serve(lab, "-p", "7000-7001:80")
    assert ports_of(lab, second)["80/tcp"][0]["HostPort"] == "7001"
    lab.docker("restart", "-t", "0", first)
    assert drawn in {item["HostPort"] for item in ports_of(lab, first)["80/tcp"]}
    lab.docker("rm", "-f", first, second)


def test_a_stopped_container_frees_its_ports_and_leaves_no_rule(lab: LabCluster) -> None:
    name = serve(lab, "-p", "7100:80")
    lab.docker("stop", "-t", "0", name)
    assert outside(lab, "tcp", HOST, 7100).startswith("error")
    assert "7100" not in lab.inside(lab[1], "nft", "list", "ruleset").out
    other = serve(lab, "-p", "7100:80")
    assert "already allocated" in lab.docker("start", name, check=1).err
    lab.docker("rm", "-f", other)
    lab.docker("start", name)
    wait(lambda: outside(lab, "tcp", HOST, 7100).startswith(name), "the container serves again")
    lab.docker("rm", "-f", name)


def test_a_udp_flow_moves_to_the_container_that_publishes_the_port_next(lab: LabCluster) -> None:
    """A client that sends from one port all the time, as a resolver or a meter does."""
    name = serve(lab, "-p", "7200:80/udp")
    ask = [sys.executable, CLIENT, "udp", HOST, "7200", "40123"]
    assert lab.outside(*ask).out.startswith(name)
    lab.docker("rm", "-f", name)
    assert lab.outside(*ask).out.startswith("error")
    other = serve(lab, "-p", "7200:80/udp")
    assert lab.outside(*ask).out.startswith(other)
    lab.docker("rm", "-f", other)


def test_ports_and_connections_outlive_the_daemon(lab: LabCluster) -> None:
    name = serve(lab, "-p", "7300:80")
    code = (
        "import socket, sys\n"
        f"s = socket.create_connection(('{HOST}', 7300)); s.settimeout(5)\n"
        "for line in sys.stdin: s.sendall(b'who'); print(s.recv(100).decode().strip(), flush=True)\n"
    )
    with labs.conversation(["ip", "netns", "exec", lab.lab.switch, sys.executable, "-c", code]) as say:
        assert say("before").startswith(name)
        machine.crash_daemon(lab[1])
        assert outside(lab, "tcp", HOST, 7300).startswith(name)
        assert say("down").startswith(name)
        lab.start(lab[1])
        assert say("after").startswith(name)
    assert outside(lab, "tcp", HOST, 7300).startswith(name)
    assert "already allocated" in lab.docker("run", "--rm", "-p", "7300:80", IMAGE, "true", check=125).err
    lab.docker("rm", "-f", name)


def test_rules_come_back_after_a_foreign_flush(lab: LabCluster, server: str) -> None:
    lab.inside(lab[1], "nft", "flush", "ruleset")
    wait(lambda: outside(lab, "tcp", HOST, 8080).startswith(server), "the rules are back", seconds=3.0)


def test_the_sdk_publishes_too(lab: LabCluster) -> None:
    client = docker.DockerClient(base_url=lab.environment()["DOCKER_HOST"])
    ports = {"80/tcp": ("127.0.0.1", None), "81/udp": [7401, 7402]}
    made = client.containers.run(IMAGE, ["sleep", "60"], detach=True, ports=ports, stop_signal="SIGKILL")
    made.reload()
    assert made.ports["80/tcp"][0]["HostIp"] == "127.0.0.1"
    assert {item["HostPort"] for item in made.ports["81/udp"]} == {"7401", "7402"}
    made.remove(force=True)
    client.close()


def test_the_request_is_shown_as_it_was_made(lab: LabCluster, server: str) -> None:
    bindings = lab.json("inspect", server)[0]["HostConfig"]["PortBindings"]
    assert bindings["80/tcp"] == [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": "8081"}]
    assert json.dumps(bindings["80/udp"]) == '[{"HostIp": "", "HostPort": "8080"}]'


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_container_of_another_network_reaches_it_and_is_seen_with_its_address(
    lab: LabCluster, server: str, kind: str
) -> None:
    lab.docker("network", "create", "elsewhere", check=None)
    other = serve(lab, "--network", "elsewhere")
    address = lab.json("inspect", other)[0]["NetworkSettings"]["Networks"]["elsewhere"]["IPAddress"]
    assert inside(lab, other, kind, HOST, 8080).split()[:2] == [server, address]
    lab.docker("rm", "-f", other)


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_port_of_a_container_with_ipv6_is_published_in_both_families(lab: LabCluster, kind: str) -> None:
    lab.docker("network", "create", "--ipv6", "six", check=None)
    name = serve(lab, "--network", "six", "-p", "7500:80", "-p", "7500:80/udp")
    assert {item["HostIp"] for item in ports_of(lab, name)["80/tcp"]} == {"0.0.0.0", "::"}
    assert outside(lab, kind, HOST, 7500).split()[:2] == [name, OUTSIDE]
    assert outside(lab, kind, HOST6, 7500).split()[:2] == [name, OUTSIDE6]
    for address in ("127.0.0.1", "::1", HOST, HOST6):
        assert on_host(lab, kind, address, 7500).startswith(name), address
    for address in (HOST, HOST6):
        assert inside(lab, name, kind, address, 7500).startswith(name), address
    lab.docker("rm", "-f", name)


def test_no_port_but_the_published_one_is_reached_from_outside(lab: LabCluster, server: str) -> None:
    address = lab.json("inspect", server)[0]["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    lab.outside("ip", "route", "replace", f"{address}/32", "via", HOST)
    assert outside(lab, "tcp", address, 80).startswith("error")
    assert on_host(lab, "tcp", address, 80).startswith(server)


def test_a_port_moves_with_the_default_route_when_networks_are_joined_and_left(lab: LabCluster) -> None:
    lab.docker("network", "create", "moving", check=None)
    name = serve(lab, "-p", "7600:80")
    lab.docker("network", "connect", "moving", name)
    assert outside(lab, "tcp", HOST, 7600).startswith(name)
    lab.docker("network", "disconnect", "bridge", name)
    assert outside(lab, "tcp", HOST, 7600).startswith(name)
    lab.docker("rm", "-f", name)


@pytest.mark.parametrize(
    ("drop", "allow_again"),
    [
        (
            "nft 'add table inet own; add chain inet own through { type filter hook forward priority 0; policy drop; }'",
            "nft delete table inet own",
        ),
        ("iptables -P FORWARD DROP", "iptables -P FORWARD ACCEPT; iptables -F FORWARD"),
    ],
    ids=["nftables", "iptables"],
)
def test_the_commands_of_the_firewall_warning_let_clients_in(
    lab: LabCluster, server: str, drop: str, allow_again: str
) -> None:
    lab.inside(lab[1], "sh", "-ec", drop)
    try:
        assert outside(lab, "tcp", HOST, 8080).startswith("error")
        machine.crash_daemon(lab[1])
        lab.start(lab[1])
        (warning,) = [line for line in lab.docker("info").err.splitlines() if "published ports may not answer" in line]
        lab.inside(lab[1], "sh", "-ec", warning.partition("Allow them: ")[2].replace("{", "'{").replace("}", "}'"))
        assert outside(lab, "tcp", HOST, 8080).split()[:2] == [server, OUTSIDE]
    finally:
        lab.inside(lab[1], "sh", "-ec", allow_again)
