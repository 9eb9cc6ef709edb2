"""The routing mesh from eight places, by three protocols and both address families, on hosts with every setting that may stand in its way."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest

from node.lab import host as machine
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.echo_services import CLIENT, MOUNTS, OUTSIDE, SCTP, SERVER, address_of, in_container, outside, seen
from tests.support.labs import IMAGE, LabCluster, wait

pytestmark = pytest.mark.root
PORT = 8080
FAMILIES = (4, 6)
LOOPBACK = {4: "127.0.0.1", 6: "::1"}


class Place(msgspec.Struct, frozen=True):
    """Where a client is, how its program is started there, and the addresses that it asks."""

    name: str
    command: tuple[str, ...]
    addresses: tuple[str, ...]
    is_outside: bool = False


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("mmx", 1, 2, archive=images) as running:
        mounts = [word for mount in (*MOUNTS, f"type=bind,src={SCTP},dst=/sctp.py,ro") for word in ("--mount", mount)]
        ports = [word for kind in ("tcp", "udp", "sctp") for word in ("-p", f"{PORT}:80/{kind}")]
        serve = "/usr/bin/python3 /sctp.py serve 80 & exec /usr/bin/python3 /echo.py 80"
        running.service("web", "--constraint", f"node.hostname=={running[3].name}", *ports, *mounts,
                        command=("sh", "-c", serve))  # fmt: skip
        running.running("web", 1)
        wait_for_answers(running)
        yield running


def wait_for_answers(lab: LabCluster) -> None:
    for host in lab.hosts:
        for family in FAMILIES:
            address = address_of(host, family)
            wait(partial(is_answering, lab, address), f"{host.name} answers at {address}")


def is_answering(lab: LabCluster, address: str) -> bool:
    return "error" not in outside(lab, "tcp", address, PORT)


def namespace_of(lab: LabCluster, host: LabHost, container: str) -> tuple[str, ...]:
    pid = lab.docker("inspect", "--format", "{{.State.Pid}}", container, on=host).out.strip()
    return tuple(machine.command_inside(host, ["nsenter", "-t", pid, "-n"]))


def both(*hosts: LabHost) -> tuple[str, ...]:
    return tuple(address_of(host, family) for host in hosts for family in FAMILIES)


@pytest.fixture(scope="module")
def places(lab: LabCluster) -> list[Place]:
    """The eight places. The first host is an entry without a task, the third has the task."""
    entry, other, task_host = lab.hosts
    (task,) = lab.running("web", 1)
    task_command = namespace_of(lab, task_host, lab.container(task))
    found = [
        Place("outside to an entry", ("ip", "netns", "exec", lab.lab.switch), both(entry), is_outside=True),
        Place("outside to the task's host", ("ip", "netns", "exec", lab.lab.switch), both(task_host), is_outside=True),
        Place("the task itself", task_command, both(task_host)),
        Place("the task through another node", task_command, both(entry)),
    ]
    for host, name in ((entry, "the entry"), (task_host, "the task's host")):
        inside = tuple(machine.command_inside(host, []))
        lab.docker("network", "create", "--ipv6", "six", on=host)
        container = lab.docker("run", "-d", "--init", "--network", "six", IMAGE, *labs.SLEEP, on=host).out.strip()
        found += [
            Place(f"{name} by loopback", inside, tuple(LOOPBACK.values())),
            Place(f"{name} by its own address", inside, both(host)),
            Place(f"{name} through another node", inside, both(other)),
            Place(f"a container on {name}", namespace_of(lab, host, container), both(host)),
            Place(f"a container on {name} through another node", namespace_of(lab, host, container), both(other)),
        ]
    return found


def answers(place: Place) -> dict[tuple[str, str], str]:
    """What the task said, by protocol and address. SCTP is not published on [::1]."""
    questions = [(kind, address) for kind in ("tcp", "udp") for address in place.addresses]
    packets = [address for address in place.addresses if address != LOOPBACK[6]]
    words = [word for kind, address in questions for word in (kind, address, str(PORT))]
    said = labs.run([*place.command, sys.executable, CLIENT, "each", *words]).lines
    words = [word for address in packets for word in (address, str(PORT))]
    said += labs.run([*place.command, sys.executable, SCTP, "ask", *words]).lines
    return dict(zip([*questions, *(("sctp", address) for address in packets)], said, strict=True))


def wrong(places: Sequence[Place]) -> dict[str, str]:
    """The cells of the matrix without an answer, or, from outside, with another address than the client's."""
    found = {}
    for place in places:
        for (kind, address), said in answers(place).items():
            own = OUTSIDE[6 if ":" in address else 4]
            if said.startswith("error") or (place.is_outside and said.split()[1] != own):
                found[f"{place.name}: {kind} {address}"] = said
    return found


@contextlib.contextmanager
def settings(lab: LabCluster, strictness: int, bridged: int, *, firewalld: bool) -> Iterator[None]:
    """Hosts with a reverse path filter, with netfilter for bridges or without, and with firewalld's filter for IPv6."""
    rules = (
        "add table inet firewalld; "
        "add chain inet firewalld filter_PREROUTING { type filter hook prerouting priority filter + 10; }; "
        "add rule inet firewalld filter_PREROUTING icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept; "
        "add rule inet firewalld filter_PREROUTING meta nfproto ipv6 fib saddr . mark . iif oif missing drop"
    )
    for host in lab.hosts:
        values = [
            f"net.ipv4.conf.{device}.rp_filter={strictness}" for device in ("all", "default", "eth0", "covey0mesh")
        ]
        values += [f"net.bridge.bridge-nf-call-{name}={bridged}" for name in ("iptables", "ip6tables")]
        lab.inside(host, "sysctl", "-qw", *values)
        if firewalld:
            lab.inside(host, "nft", rules)
    try:
        yield
    finally:
        for host in lab.hosts if firewalld else ():
            lab.inside(host, "nft", "delete table inet firewalld")


@pytest.mark.parametrize(
    ("strictness", "bridged", "firewalld"), list(itertools.product((0, 1, 2), (0, 1), (False, True)))
)
def test_every_place_reaches_the_task_by_every_protocol(
    lab: LabCluster, places: list[Place], strictness: int, bridged: int, firewalld: bool
) -> None:
    with settings(lab, strictness, bridged, firewalld=firewalld):
        assert wrong(places) == {}


def test_a_task_with_a_wildcard_udp_server_sends_too(lab: LabCluster) -> None:
    """The server answers from the address that it was asked at, and what the task sends by itself leaves as its host does."""
    (task,) = lab.running("web", 1)
    with labs.serving(["ip", "netns", "exec", lab.lab.switch, sys.executable, SERVER, "9000", "until-stdin-closes"]):
        for kind, family in itertools.product(("udp", "udp-unconnected", "tcp"), FAMILIES):
            assert seen(outside(lab, kind, address_of(lab[1], family), PORT)) == OUTSIDE[family]
            said = in_container(lab, lab[3], lab.container(task), kind, OUTSIDE[family], 9000)
            assert seen(said) == address_of(lab[3], family)


SAME_PORT = """
import socket, sys
kind, addresses, sockets = sys.argv[1], sys.argv[2:], []
for address in addresses:
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.settimeout(5)
    s.bind(("", 40007))
    s.connect((address, %d))
    sockets.append(s)
for s in sockets * 2:
    s.sendall(b"who")
    print(s.recv(100).decode().split()[1])
"""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_one_client_port_is_open_through_three_entries_at_once(lab: LabCluster, kind: str, family: int) -> None:
    addresses = [address_of(host, family) for host in lab.hosts]
    ran = lab.outside(sys.executable, "-c", SAME_PORT % PORT, kind, *addresses)
    assert ran.lines == [OUTSIDE[family]] * 6


ESTABLISHED = """
import socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
for line in sys.stdin:
    start = time.monotonic()
    try:
        s.sendall(b"who")
        said = s.recv(100).decode().split()[1]
    except OSError as error:
        said = type(error).__name__
    print(said, f"{time.monotonic() - start:.3f}", flush=True)
"""


@pytest.mark.parametrize("taker", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_entry_that_dies_is_replaced_by_the_node_that_takes_its_address(
    lab: LabCluster, family: int, taker: int
) -> None:
    """As keepalived does it. Connections through the dead node are reset, new ones go through the taker at once."""
    address, host = address_of(lab[2], family), lab[taker]
    prefix = "24" if family == 4 else "64"
    code = ["ip", "netns", "exec", lab.lab.switch, sys.executable, "-c", ESTABLISHED, address, str(PORT)]
    with labs.conversation(code) as say:
        assert say("before").split()[0] == OUTSIDE[family]
        lab.cut(lab[2])
        try:
            nodad = () if family == 4 else ("nodad",)
            lab.inside(host, "ip", "addr", "add", f"{address}/{prefix}", "dev", "eth0", *nodad)
            lab.outside("ip", "neigh", "flush", "to", address)
            began = time.monotonic()
            assert seen(outside(lab, "tcp", address, PORT)) == OUTSIDE[family]
            assert seen(outside(lab, "udp", address, PORT)) == OUTSIDE[family]
            assert time.monotonic() - began < 1
            outcome, seconds = say("after").split()
            assert outcome == "ConnectionResetError"
            assert float(seconds) < 1
        finally:
            lab.inside(host, "ip", "addr", "del", f"{address}/{prefix}", "dev", "eth0")
            lab.heal(lab[2])
            lab.outside("ip", "neigh", "flush", "to", address)
    lab.wait_ready()
    wait_for_answers(lab)
