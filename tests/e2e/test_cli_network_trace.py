"""`covey network trace` on one host without a cluster: bridge networks, published ports, the way out, and what it refuses."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.network.plan.names import port_name
from tests.support import labs
from tests.support.labs import CommandResult, LabCluster, wait

pytestmark = pytest.mark.root
COVEY = labs.PYTHON_BIN / "covey"
INSIDE, OUTSIDE = ("caller", "server:80"), ("outside@{host}", "{host}:9090")


class Single:
    """The host with a server, whose port 80 is published as 9090, and a caller on the same network."""

    def __init__(self, lab: LabCluster) -> None:
        self.lab = lab
        lab.docker("network", "create", "yard")
        lab.docker("run", "-d", "--name", "server", "--network", "yard", "-p", "9090:80", labs.IMAGE, *labs.WEB)
        lab.docker("run", "-d", "--name", "caller", "--network", "yard", labs.IMAGE, *labs.SLEEP)
        shown = lab.json("inspect", "server")[0]
        self.facts = {
            "host": lab[1].name,
            "address": lab[1].address,
            "pid": str(shown["State"]["Pid"]),
            "port": port_name(shown["Id"], "eth0"),
            "bridge": "br-" + shown["NetworkSettings"]["Networks"]["yard"]["NetworkID"][:12],
        }

    def trace(self, path: tuple[str, str], *options: str) -> CommandResult:
        words = [one.format_map(self.facts) for one in path]
        return labs.run([COVEY, "network", "trace", *options, *words], check=None, env=self.lab.environment())

    def broken(self, path: tuple[str, str]) -> list[dict[str, Any]]:
        hops = json.loads(self.trace(path, "--json").out)["Hops"]
        return [one for one in hops if one["State"] == "broken"]

    def inside(self, command: str, check: int | None = 0) -> None:
        self.lab.inside(self.lab[1], "sh", "-c", command.format_map(self.facts), check=check)


@pytest.fixture(scope="module")
def single(images: Path) -> Iterator[Single]:
    with labs.running_lab("trace1", 1, init_cluster=False, archive=images) as lab:
        found = Single(lab)
        wait(lambda: found.trace(INSIDE).code == 0, "a server that listens")
        yield found


@pytest.mark.parametrize(
    "path", [INSIDE, OUTSIDE, ("{host}", "{host}:9090"), ("{host}", "server:80"), ("caller", "{address}:9090")]
)
def test_a_whole_path_ends_at_the_socket(single: Single, path: tuple[str, str]) -> None:
    told = single.trace(path)
    assert (told.code, told.err) == (0, "")
    assert "socket: tcp :: 80   [tcp sockets]" in told.out
    assert f"bridge port: up, in {single.facts['bridge']}   [device {single.facts['port']}]" in told.out
    assert " reaches " in told.lines[-1]


def test_a_path_out_of_the_host_is_followed_as_far_as_it_is_known(single: Single) -> None:
    told = single.trace(("caller", "198.51.100.7:53"), "--protocol", "udp")
    assert told.code == 0
    assert "host route: default via " in told.out
    assert "is not known to the cluster" in told.out


BREAKS: dict[str, tuple[str, str, tuple[str, str], str, str]] = {
    "the bridge is down": ("ip link set {bridge} down", "", INSIDE, "bridge", "is down"),
    "the port is in no bridge": ("ip link set {port} nomaster", "", INSIDE, "bridge port", "is not a port of"),
    "the server's device is down": ("nsenter -t {pid} -n ip link set eth0 down", "", INSIDE, "interface", "is down"),
    "the server's address is gone": (
        "nsenter -t {pid} -n ip addr flush dev eth0", "", OUTSIDE, "interface", "does not have its address",
    ),
    "the host forwards nothing": ("sysctl -qw net.ipv4.ip_forward=0", "", OUTSIDE, "forwarding", "does not forward"),
    "the host's firewall drops what is forwarded": (
        "nft 'add table ip filter; add chain ip filter FORWARD {{ type filter hook forward priority 0; policy drop; }}'",
        "nft delete table ip filter", OUTSIDE, "firewall forward", "ip filter FORWARD drops",
    ),
    "the host's firewall drops the port": (
        "nft 'add table inet mine; add chain inet mine raw {{ type filter hook prerouting priority -300; policy drop; }}'",
        "nft delete table inet mine", OUTSIDE, "firewall prerouting", "inet mine raw drops",
    ),
    "the bridge has lost its address": ("ip addr flush dev {bridge}", "", OUTSIDE, "route", "leads out of"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_the_broken_hop_is_named(single: Single, name: str) -> None:
    command, undo, path, step, reason = BREAKS[name]
    try:
        single.inside(command)
        found = single.broken(path)
        assert [one["Step"] for one in found] == [step], found
        assert reason in found[0]["Reason"]
        assert found[0]["Remedy"]
    finally:
        if undo:
            single.inside(undo)
        labs.run([COVEY, "network", "verify", "--repair"], check=None, env=single.lab.environment())
        wait(lambda: not single.broken(path), "a repaired path")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("delete element inet covey0-ports any4 {{ tcp . 9090 }}", "port 9090/tcp of server leads nowhere on {host}"),
        ("insert rule inet covey0-bridges forward drop", "the chain inet covey0-bridges forward drops the packet"),
        (
            "insert rule inet covey0-bridges to-{bridge} drop",
            "the chain inet covey0-bridges to-{bridge} drops the packet",
        ),
        ("flush chain inet covey0-ports enter", "chain inet covey0-ports enter is altered"),
    ],
)
def test_a_change_of_the_daemons_own_tables_is_named(single: Single, command: str, reason: str) -> None:
    """The daemon restores its own tables at once, so the test changes them all the time."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            single.inside(f"nft '{command}'", check=None)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        found = wait(lambda: single.broken(OUTSIDE), "a broken path")
    finally:
        ended.set()
        thread.join()
    assert found[0]["Reason"] == reason.format_map(single.facts)
    labs.run([COVEY, "network", "verify", "--repair"], check=None, env=single.lab.environment())
    wait(lambda: not single.broken(OUTSIDE), "a repaired path")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("to=server", "the parameter from is missing"),
        ("from=caller", "the parameter to is missing"),
        ("from=caller&to=server&port=70000", "invalid port '70000'"),
        ("from=caller&to=server&port=-1", "invalid port '-1'"),
        ("from=caller&to=server&protocol=icmp", "invalid protocol 'icmp'"),
        (f"from={'x' * 300}&to=server", "the parameter from has more than 255 characters"),
    ],
)
def test_bad_questions_are_refused(single: Single, query: str, message: str) -> None:
    status, answer = single.lab.request("GET", f"/covey/network/trace?{query}")
    assert (status, answer["message"].startswith(message)) == (400, True), answer


def test_what_is_not_known_is_named(single: Single) -> None:
    told = single.trace(("caller", "nobody:80"))
    assert told.code == 1
    assert "called nobody (the place to); this node is no manager, so it knows what is on itself alone" in told.out
    assert "nothing in server listens on tcp port 81" in single.trace(("caller", "server:81")).out
    assert "not an address by which others reach" in single.trace(("outside@{host}", "127.0.0.1:9090")).out
    assert "without a port" in single.trace(("outside@{host}", "{host}")).out
    single.lab.docker("run", "-d", "--name", "apart", labs.IMAGE, *labs.SLEEP)
    assert "have no network in common" in single.trace(("apart", "server:80")).out
