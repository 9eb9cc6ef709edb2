"""`covey network trace` on three hosts: the whole path of a working connection, and the broken hop of each thing that a test breaks.

The client is a container on the second host, the service's task is on the third, the manager on the first. Hosts repair themselves once a minute, and what concerns
their own firewall tables at once: a path is followed right after it was broken, those tables are broken again all the time.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agent.network.plan.names import port_name
from tests.support import labs
from tests.support.labs import CommandResult, LabCluster, wait

pytestmark = pytest.mark.root
COVEY = labs.PYTHON_BIN / "covey"
CLIENT, SERVICE, PORT = "client", "web", 8080
OVERLAY, UNDERLAY, MESH = ("client", "web:80"), "192.168.77.3", ("outside@{host2}", "{host2}:8080")


class Break(NamedTuple):
    """What a test does to a namespace (`host`, `network`, `client` or `task`) of a host, how to undo what no repair undoes, and what the
    trace must then name: host, step and a part of the reason.
    """

    host: int
    place: str
    command: str
    named_host: int
    step: str
    reason: str
    undo: str = ""
    path: tuple[str, str] = OVERLAY


BREAKS = {
    "the client's route is gone": Break(
        2, "client", "ip route flush dev eth0", 2, "route", "leads out of eth1, not of eth0",
        undo="ip addr flush dev eth0 scope global",
    ),
    "the client drops what it sends": Break(
        2, "client", "nft 'add table ip mine; add chain ip mine out {{ type filter hook output priority 0; }}; "
        "add rule ip mine out tcp dport 80 drop'", 2, "firewall output", "ip mine out", undo="nft delete table ip mine",
    ),
    "the client's resolver is unreachable": Break(
        2, "client", "nft flush chain ip covey-dns output", 2, "name", "names cannot be looked up",
    ),
    "the client's port is in no bridge": Break(
        2, "network", "ip link set {client_port} nomaster", 2, "bridge port", "is not a port of br0",
    ),
    "the bridge is down": Break(2, "network", "ip link set br0 down", 2, "bridge", "br0 is down"),
    "the VIP is no address": Break(2, "network", "ip addr del {vip}/32 dev br0", 2, "VIP", "does not have the VIP"),
    "the VIP leads nowhere": Break(
        2, "network", "nft 'delete element inet covey-vips vips4 {{ {vip} }}'", 2, "VIP", "leads to no backends",
    ),
    "a wrong backend": Break(
        2, "network", "nft 'flush chain inet covey-vips {chain}; add rule inet covey-vips {chain} dnat ip to 10.0.1.250'",
        2, "backends", "10.0.1.250 is no ready task",
    ),
    "forwarding is off": Break(2, "network", "sysctl -qw net.ipv4.ip_forward=0", 2, "forwarding", "does not forward"),
    "a neighbour is missing": Break(
        2, "network", "ip neigh del {address} dev br0", 2, "neighbour", "br0 does not know who has",
    ),
    "a neighbour is wrong": Break(
        2, "network", "ip neigh replace {address} lladdr 02:00:00:00:00:99 dev br0 nud permanent", 2, "neighbour", "has the MAC",
    ),
    "the tunnel's entry is missing": Break(
        2, "network", "bridge fdb del {mac} dev vxlan0 self", 2, "forwarding", "does not know the host",
    ),
    "the tunnel's entry leads to a wrong host": Break(
        2, "network", "bridge fdb replace {mac} dev vxlan0 self permanent dst 192.168.77.1", 2, "forwarding",
        "192.168.77.1, which {host3}",
    ),
    "the bridge does not use the tunnel": Break(
        2, "network", "bridge fdb del {mac} dev vxlan0 master", 2, "forwarding", "does not send",
    ),
    "the tunnel is down": Break(2, "network", "ip link set vxlan0 down", 2, "tunnel", "vxlan0 is down"),
    "the tunnel has another id": Break(
        3, "network", "sh -c 'ip link del vxlan0; ip link add vxlan0 type vxlan id 999 dstport 4790; "
        "ip link set vxlan0 up master br0'", 3, "tunnel", "has the VXLAN id",
    ),
    "the underlay's route is a black hole": Break(
        2, "host", "ip route add blackhole 192.168.77.3/32", 2, "underlay", "is blackhole",
        undo="ip route del blackhole 192.168.77.3/32",
    ),
    "the other host refuses the tunnel": Break(
        3, "host", "nft 'add table inet mine; add chain inet mine in {{ type filter hook input priority 0; }}; "
        "add rule inet mine in udp dport 4789 drop'", 3, "firewall input", "inet mine in", undo="nft delete table inet mine",
    ),
    "the task's port is in no bridge": Break(
        3, "network", "ip link set {task_port} nomaster", 3, "bridge port", "is not a port of br0",
    ),
    "the task's port is unknown to the bridge": Break(
        3, "network", "bridge fdb del {mac} dev {task_port} master", 3, "forwarding", "does not know the port",
    ),
    "the task's address is gone": Break(
        3, "task", "ip addr flush dev eth0 scope global", 3, "interface", "does not have its address",
    ),
    "the task's device is down": Break(3, "task", "ip link set eth0 down", 3, "interface", "is down"),
    "the task refuses the port": Break(
        3, "task", "nft 'add table inet mine; add chain inet mine in {{ type filter hook input priority 0; policy drop; }}'",
        3, "firewall input", "inet mine in", undo="nft delete table inet mine",
    ),
    "the task's host does not know the way back": Break(
        3, "network", "bridge fdb del {client_mac} dev vxlan0 self", 3, "reply", "does not know the host",
    ),
    "the mesh's entry does not know the task's host": Break(
        2, "host", "bridge fdb del {mesh_mac} dev covey0mesh self", 2, "forwarding", "does not know the host", path=MESH,
    ),
    "the mesh's route is gone": Break(
        2, "host", "ip route del {identity}", 2, "mesh route", "is not routed into the mesh", path=MESH,
    ),
    "the answers of the mesh have no rule": Break(
        3, "host", "ip rule del priority {rule}",
        3, "policy", "no policy rule leads answers", path=MESH,
    ),
    "the host's firewall drops what is forwarded": Break(
        3, "host", "nft 'add table ip filter; add chain ip filter FORWARD {{ type filter hook forward priority 0; policy drop; }}'",
        3, "firewall forward", "ip filter FORWARD", undo="nft delete table ip filter", path=MESH,
    ),
    "the task's way out is down": Break(
        3, "host", "ip link set {way_out} down", 3, "way out", "is down", path=MESH,
    ),
}  # fmt: skip


class Traced:
    """The lab with the client and the service, and what the commands of the breaks need to know."""

    def __init__(self, lab: LabCluster) -> None:
        self.lab = lab
        lab.docker("network", "create", "-d", "overlay", "--attachable", "shop")
        lab.service(
            SERVICE, "--network", "shop", "--publish", f"{PORT}:80", "--constraint", f"node.hostname=={lab[3].name}",
            command=labs.WEB,
        )  # fmt: skip
        task = lab.running(SERVICE, 1)[0]
        lab.docker("run", "-d", "--name", CLIENT, "--network", "shop", labs.IMAGE, *labs.SLEEP, on=lab[2])
        self.network = lab.json("network", "inspect", "shop")[0]["Id"]
        service = lab.json("service", "inspect", SERVICE)[0]
        self.containers = {"task": lab.container(task), "client": self._shown(CLIENT, 2)["Id"]}
        address, mac = self._on("task", 3)
        client_address, client_mac = self._on("client", 2)
        vips = {one["NetworkID"]: one["Addr"].partition("/")[0] for one in service["Endpoint"]["VirtualIPs"]}
        identity = next(
            one["Addresses"][0].partition("/")[0]
            for one in task["NetworksAttachments"]
            if one["Network"]["ID"] != self.network
        )
        self.facts = {
            **{f"host{number}": lab[number].name for number in (1, 2, 3)},
            "vip": vips[self.network],
            "chain": f"vip4-{service['ID']}",
            "address": address,
            "mac": mac,
            "client_address": client_address,
            "client_mac": client_mac,
            "identity": identity,
            "client_port": port_name(self.containers["client"], "eth0"),
            "task_port": port_name(self.containers["task"], "eth0"),
            "way_out": port_name(self.containers["task"], "eth1"),
            "mesh_mac": json.loads(lab.inside(lab[3], "ip", "-j", "link", "show", "covey0mesh").out)[0]["address"],
        }
        number = lab.inside(lab[3], "nft", "list", "map", "inet", "covey0-mesh", "marks").out
        entry = json.loads(lab.inside(lab[2], "ip", "-j", "link", "show", "covey0mesh").out)[0]["address"]
        mark = int(number.partition(f"{entry} : ")[2].split()[0].strip(","), 16)
        rules = json.loads(lab.inside(lab[3], "ip", "-j", "rule").out)
        self.facts["rule"] = str(
            max(one["priority"] for one in rules if one.get("fwmark") and int(one["fwmark"], 16) == mark)
        )

    def trace(self, path: tuple[str, str], *options: str, on: int = 1) -> CommandResult:
        words = [one.format_map(self.facts) for one in path]
        command = [COVEY, "network", "trace", *options, *words]
        return labs.run(command, check=None, env=self.lab.environment(self.lab[on]))

    def hops(self, path: tuple[str, str]) -> list[dict[str, Any]]:
        return list(json.loads(self.trace(path, "--json").out)["Hops"])

    def wait_whole(self, path: tuple[str, str]) -> None:
        wait(lambda: self.trace(path).code == 0, f"a path from {path[0]} to {path[1]}")

    def inside(self, number: int, place: str, command: str, check: int | None = 0) -> CommandResult:
        """Run a command in a namespace of a host."""
        namespace = {
            "host": "",
            "network": f"nsenter --net=/run/covey/netns/networks/{self.network}",
        }.get(place)
        if namespace is None:
            shown = self._shown(self.containers[place], number)
            namespace = f"nsenter -t {shown['State']['Pid']} -n"
        words = f"{namespace} {command.format_map(self.facts)}".strip()
        return self.lab.inside(self.lab[number], "sh", "-c", words, check=check)

    def repair(self) -> None:
        labs.run([COVEY, "network", "verify", "--repair"], check=None, env=self.lab.environment(self.lab[1]))

    def _shown(self, name: str, number: int) -> Any:
        return self.lab.json("inspect", name, on=self.lab[number])[0]

    def _on(self, name: str, number: int) -> tuple[str, str]:
        shown = self._shown(self.containers[name], number)["NetworkSettings"]["Networks"]["shop"]
        return shown["IPAddress"], shown["MacAddress"]


@pytest.fixture(scope="module")
def traced(images: Path) -> Iterator[Traced]:
    with labs.running_lab("trace", 1, 2, archive=images) as lab:
        found = Traced(lab)
        wait(lambda: found.trace(OVERLAY).code == found.trace(MESH).code == 0, "paths that arrive")
        yield found


def broken(hops: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in hops if one["State"] == "broken"]


def test_a_path_is_shown_with_all_its_hops_and_what_they_were_read_from(traced: Traced) -> None:
    told = traced.trace(OVERLAY)
    assert (told.code, told.err) == (0, "")
    facts = traced.facts
    for expected in (
        f"web is {facts['vip']}, its VIP on shop   [chain ip covey-dns output]",
        f"{facts['vip']} leads to {facts['address']}   [map inet covey-vips vips4",
        f"forwarding: at {UNDERLAY}   [forwarding entry {facts['mac']} of vxlan0]",
        "[set inet covey0-members members4]",
        f"bridge port: up, in br0   [device {facts['task_port']}]",
        "socket: tcp :: 80   [tcp sockets]",
    ):
        assert expected in told.out
    assert told.lines[-1] == "client reaches web:80 (tcp)"
    hosts = [one["Host"] for one in traced.hops(OVERLAY)]
    assert list(dict.fromkeys(hosts)) == [facts["host2"], facts["host3"]]


@pytest.mark.parametrize("name", BREAKS)
def test_the_broken_hop_is_named(traced: Traced, name: str) -> None:
    what = BREAKS[name]
    assert not broken(traced.hops(what.path)), "the path is whole before"
    try:
        traced.inside(what.host, what.place, what.command)
        found = broken(traced.hops(what.path))
        named = [(one["Host"], one["Step"]) for one in found]
        assert named == [(traced.facts[f"host{what.named_host}"], what.step)], found
        assert what.reason.format_map(traced.facts) in found[0]["Reason"]
        assert found[0]["Remedy"]
    finally:
        if what.undo:
            traced.inside(what.host, what.place, what.undo, check=None)
        traced.repair()
        wait(lambda: not broken(traced.hops(what.path)), "a repaired path")


def test_a_published_port_without_its_translation_is_named(traced: Traced) -> None:
    """The daemon restores its own firewall tables at once, so they are broken all the time."""
    with broken_all_the_time(traced, 2, "delete element inet covey0-mesh ports4 {{ tcp . 8080 }}"):
        found = wait(lambda: broken(traced.hops(MESH)), "a broken path")
    assert (found[0]["Host"], found[0]["Step"]) == (traced.facts["host2"], "published port")
    assert found[0]["Reason"] == f"port 8080/tcp of the service web leads nowhere on {traced.facts['host2']}"
    wait(lambda: not broken(traced.hops(MESH)), "a repaired path")


@contextlib.contextmanager
def broken_all_the_time(traced: Traced, number: int, command: str) -> Iterator[None]:
    ended = threading.Event()
    words = f"nft '{command}'"

    def work() -> None:
        while not ended.is_set():
            traced.inside(number, "host", words, check=None)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_an_encrypted_path_without_its_peer_is_named(traced: Traced) -> None:
    lab = traced.lab
    lab.docker("network", "create", "-d", "overlay", "--attachable", "--opt", "encrypted", "sealed", on=lab[1])
    lab.docker("run", "-d", "--name", "spy", "--network", "sealed", labs.IMAGE, *labs.SLEEP, on=lab[2])
    lab.docker("run", "-d", "--name", "vault", "--network", "sealed", labs.IMAGE, *labs.WEB, on=lab[3])
    path = ("spy", "vault:80")
    wait(lambda: traced.trace(path).code == 0, "an encrypted path")
    assert "[peers of covey0-wg0]" in traced.trace(path).out
    key = lab.inside(lab[2], "wg", "show", "covey0-wg0", "peers").out.split()[0]
    lab.inside(lab[2], "wg", "set", "covey0-wg0", "peer", key, "remove")
    (found,) = broken(traced.hops(path))
    assert (found["Host"], found["Step"]) == (lab[2].name, "encryption")
    assert "no WireGuard peer of" in found["Reason"]


def test_a_path_of_ipv6_is_followed(traced: Traced) -> None:
    lab = traced.lab
    lab.docker("network", "create", "-d", "overlay", "--attachable", "--ipv6", "six", on=lab[1])
    lab.service("far6", "--network", "six", "--constraint", f"node.hostname=={lab[3].name}", command=labs.WEB)
    lab.running("far6", 1)
    lab.docker("run", "-d", "--name", "near6", "--network", "six", labs.IMAGE, *labs.SLEEP, on=lab[2])
    task = lab.running("far6", 1)[0]
    shown = lab.json("inspect", lab.container(task), on=lab[3])[0]["NetworkSettings"]["Networks"]["six"]
    vips = [
        one
        for device in json.loads(
            lab.inside(
                lab[2], "nsenter", f"--net=/run/covey/netns/networks/{shown['NetworkID']}", "ip", "-j", "-6", "addr"
            ).out
        )
        for one in device["addr_info"]
        if one.get("prefixlen") == 128 and not one["local"].startswith(("::", "fe80"))
    ]
    for address in (shown["GlobalIPv6Address"], vips[0]["local"]):
        traced.wait_whole(("near6", f"[{address}]:80"))
        told = traced.trace(("near6", f"[{address}]:80"))
        assert "socket: tcp :: 80" in told.out
        assert f"neighbour {shown['GlobalIPv6Address']} of vxlan0" in told.out
    address = vips[0]["local"]
    lab.inside(
        lab[2], "nsenter", f"--net=/run/covey/netns/networks/{shown['NetworkID']}", "sysctl", "-qw",
        "net.ipv6.conf.all.forwarding=0",
    )  # fmt: skip
    (found,) = broken(traced.hops(("near6", f"[{address}]:80")))
    assert (found["Host"], found["Step"]) == (lab[2].name, "forwarding")
    traced.repair()
    entry = ("outside@{host2}", f"[fd00:77::2]:{PORT}")
    assert "socket: tcp :: 80" in traced.trace(entry).out
    assert not broken(traced.hops(entry))


def test_a_port_of_a_container_that_only_its_host_knows_is_followed(traced: Traced) -> None:
    traced.lab.docker("run", "-d", "--name", "alone", "-p", "9099:80", labs.IMAGE, *labs.WEB, on=traced.lab[3])
    told = wait(lambda: (one := traced.trace((CLIENT, "{host3}:9099"))).code == 0 and one, "a path to its port")
    assert "published port: 172.17.0.2 port 80" in told.out
    assert "socket: tcp :: 80" in told.out


def test_what_does_not_exist_is_named(traced: Traced) -> None:
    for path in (("client", "nobody:80"), ("nobody", "web:80"), ("outside@nowhere", "web:8080")):
        told = traced.trace(path)
        assert told.code == 1
        assert "no container, task, service, node or address is called" in told.out
    assert "nothing in web" in traced.trace(("client", "web:81")).out
    assert "nobody publishes port 81/tcp" in traced.trace(("outside@{host1}", "{host1}:81")).out
    told = traced.trace(("client", "web:0x50"))
    assert (told.code, "invalid port '0x50'" in told.err) == (1, True)


def test_a_dead_host_is_the_end_of_the_path(traced: Traced) -> None:
    lab = traced.lab
    lab.docker("network", "create", "-d", "overlay", "--attachable", "back", on=lab[1])
    lab.docker("run", "-d", "--name", "far", "--network", "back", labs.IMAGE, *labs.SLEEP, on=lab[3])
    lab.docker("network", "connect", "back", CLIENT, on=lab[2])
    path = (CLIENT, "far")
    wait(lambda: traced.trace(path).code == 0, "a path to the other host")
    lab.kill(lab[3])
    try:
        found = wait(lambda: broken(traced.hops(path)), "a broken path", 30)
        assert found[-1]["Host"] == lab[3].name
        assert lab[3].name in found[-1]["Reason"]
    finally:
        lab.start(lab[3])
        lab.wait_ready()
