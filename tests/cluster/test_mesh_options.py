"""The routing mesh with options of its ingress network: addresses hidden behind the entry node, and encrypted between nodes."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.network.netns import Namespace
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.echo_services import OUTSIDE, address_of, in_container, on_host, outside, publish, seen
from tests.support.labs import IMAGE, LabCluster, wait

pytestmark = pytest.mark.root
PORT = 8080
SUBNETS = ("--ipv6", "--subnet", "10.88.0.0/24", "--subnet", "fd00:88::/64")


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("mopt", 1, 2, archive=images) as running:
        yield running


def remake_ingress(lab: LabCluster, name: str, *options: str) -> None:
    """Another ingress network, and a service whose task is on the third host."""
    lab.docker("service", "rm", "web", check=None)
    old = next(item["Name"] for item in lab.get("/networks") if item["Ingress"])
    wait(lambda: lab.docker("network", "rm", old, check=None, stdin=b"y\n").code == 0, "the old ingress network to go")
    lab.docker("network", "create", "-d", "overlay", "--ingress", *SUBNETS, *options, name)
    publish(lab, "web", PORT, "--constraint", f"node.hostname=={lab[3].name}")


def container_on(lab: LabCluster, host: LabHost) -> str:
    return lab.docker("run", "-d", "--init", IMAGE, *labs.SLEEP, on=host).out.strip()


def mesh_address(lab: LabCluster, name: str, host: LabHost, family: int) -> str:
    """A node's own address on the ingress network; of a worker as its device has it."""
    shown = lab.inside(host, "ip", "-o", "addr", "show", "dev", "covey0mesh").out
    start = {4: "10.88.", 6: "fd00:88:"}[family]
    (found,) = [word.partition("/")[0] for word in shown.split() if word.startswith(start)]
    if host is lab[1] and family == 4:
        (network,) = lab.json("network", "inspect", name, on=host)
        assert network["Containers"]["ingress-sbox"]["IPv4Address"].startswith(f"{found}/")
    return found


@pytest.fixture(scope="module")
def hidden(lab: LabCluster) -> str:
    remake_ingress(lab, "hidden", "--opt", "covey.mesh.snat=true")
    for host in lab.hosts:
        for device in ("all", "default", "eth0", "covey0mesh"):
            lab.inside(host, "sysctl", "-qw", f"net.ipv4.conf.{device}.rp_filter=1")
    return "hidden"


@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.parametrize("family", [4, 6])
def test_with_snat_a_task_sees_the_entry_node(lab: LabCluster, hidden: str, kind: str, family: int) -> None:
    for entry in (lab[1], lab[2]):
        said = outside(lab, kind, address_of(entry, family), PORT)
        assert seen(said) == mesh_address(lab, hidden, entry, family)
    assert seen(outside(lab, kind, address_of(lab[3], family), PORT)) == OUTSIDE[family]


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_with_snat_every_other_place_reaches_it(lab: LabCluster, hidden: str, kind: str) -> None:
    assert hidden
    for host in lab.hosts:
        for address in ("127.0.0.1", "::1", host.address, host.address6, lab[2].address, lab[2].address6):
            assert seen(on_host(lab, host, kind, address, PORT)), (host.name, address)
    for host in (lab[1], lab[3]):
        container = container_on(lab, host)
        for entry in lab.hosts:
            assert seen(in_container(lab, host, container, kind, entry.address, PORT)), (host.name, entry.name)
        lab.docker("rm", "-f", container, on=host)
    (task,) = lab.running("web", 1)
    for entry in lab.hosts:
        for family in (4, 6):
            assert seen(in_container(lab, lab[3], lab.container(task), kind, address_of(entry, family), PORT))


def test_with_snat_no_policy_rule_is_made_and_the_option_is_shown(lab: LabCluster, hidden: str) -> None:
    assert lab.json("network", "inspect", hidden)[0]["Options"]["covey.mesh.snat"] == "true"
    for host in lab.hosts:
        for family in ("-4", "-6"):
            rules = lab.inside(host, "ip", family, "rule").out
            assert "fwmark" not in rules, rules
            assert "covey0mesh" not in rules, rules
        assert not lab.get("/covey/network/verify", on=host)["Differences"]
    answers = [seen(outside(lab, "tcp", host.address, PORT, "40001")) for host in lab.hosts]
    assert len(set(answers)) == 3


@pytest.fixture(scope="module")
def sealed(lab: LabCluster) -> str:
    remake_ingress(lab, "sealed", "--opt", "encrypted")
    return "sealed"


@contextlib.contextmanager
def between_hosts(lab: LabCluster) -> Iterator[list[bytes]]:
    """Every frame between the hosts during the block, but not those from and to the place outside."""
    namespace = Namespace(f"/run/netns/{lab.lab.switch}")
    frames: list[bytes] = []
    found = namespace.run(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003)))
    outsider = {socket.inet_pton(socket.AF_INET, OUTSIDE[4]), socket.inet_pton(socket.AF_INET6, OUTSIDE[6])}
    found.settimeout(0.1)
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                frame = found.recv(65536)
                ends = {frame[26:30], frame[30:34], frame[22:38], frame[38:54]}
                if not ends & outsider:
                    frames.append(frame)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield frames
    finally:
        ended.set()
        reader.join()
        found.close()
        namespace.close()


LARGE = (
    "import socket, sys\n"
    f"s = socket.create_connection((sys.argv[1], {PORT}), timeout=10); s.sendall(b'1000000 bytes')\n"
    "left = 1000000\n"
    "while left: left -= len(s.recv(65536)) or sys.exit('closed')\n"
    "print('done')"
)


def test_an_encrypted_mesh_keeps_the_clients_address_and_nobody_else_reads_it(lab: LabCluster, sealed: str) -> None:
    assert sealed
    with between_hosts(lab) as frames:
        for kind in ("tcp", "udp"):
            for family in (4, 6):
                for entry in lab.hosts:
                    assert seen(outside(lab, kind, address_of(entry, family), PORT)) == OUTSIDE[family]
        for address in (lab[1].address, lab[1].address6):
            assert lab.outside(sys.executable, "-c", LARGE, address).out == "done\n"
    assert sum(len(frame) for frame in frames) > 1_000_000
    assert not any(b"x" * 64 in frame or OUTSIDE[4].encode() in frame for frame in frames)


def test_plaintext_is_refused_by_an_encrypted_mesh(lab: LabCluster, sealed: str) -> None:
    """A packet of a forged entry node, as it would come through an open tunnel. The same packet for another id is not counted."""
    (network,) = lab.json("network", "inspect", sealed)
    assert {peer["Encryption"] for peer in network["Peers"]} <= {"kernel", "wireguard-go"}
    shown = lab.inside(lab[3], "ip", "-d", "link", "show", "covey0mesh").out.split()
    vni, port = int(shown[shown.index("id") + 1]), int(shown[shown.index("dstport") + 1])

    def dropped() -> int:
        words = lab.inside(lab[3], "nft", "list", "chain", "inet", "covey0-encryption", "input").out.split()
        return int(words[words.index("packets") + 1])

    code = (
        "import socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        f"s.sendto(b'\\x08\\0\\0\\0' + ({vni} << 8).to_bytes(4, 'big') + bytes(60), ('{lab[3].address}', {port}))\n"
    )
    before = dropped()
    lab.outside(sys.executable, "-c", code)
    wait(lambda: dropped() == before + 1, "the packet in plaintext to be dropped and counted")
    lab.outside(sys.executable, "-c", code.replace(f"({vni} ", f"({vni + 1} "))
    assert dropped() == before + 1


def test_an_encrypted_mesh_outlives_daemons_and_goes_back_to_a_plain_one(lab: LabCluster, sealed: str) -> None:
    assert sealed
    for host in (lab[1], lab[3]):
        labs.machine.crash_daemon(host)
    assert seen(outside(lab, "tcp", lab[1].address, PORT)) == OUTSIDE[4]
    lab.start(lab[1], lab[3])
    lab.wait_ready()
    assert seen(outside(lab, "tcp", lab[1].address, PORT)) == OUTSIDE[4]
    for host in lab.hosts:
        wait(lambda host=host: not lab.get("/covey/network/verify", on=host)["Differences"], "nothing differs")
    remake_ingress(lab, "plain")
    for host in lab.hosts:
        wait(lambda host=host: "-wg" not in lab.inside(host, "ip", "-o", "link").out, f"no device on {host.name}")
    assert seen(outside(lab, "tcp", lab[1].address, PORT)) == OUTSIDE[4]
