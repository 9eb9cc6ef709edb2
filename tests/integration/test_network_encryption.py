"""Encrypted networks on a real kernel: hosts in namespaces with real WireGuard devices, and what is seen on the switch between them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.network.model import Attachment, NetworkChanges
from agent.network.plan.encryption import device_names, table_name
from agent.network.wireguard import device
from agent.network.wireguard.rotation import RotationTimes
from covey.errors import UnsupportedError
from covey.objects.assignment import NodeEndpoint
from tests.support.switched_hosts import (
    Container,
    HostUnderTest,
    SwitchedHosts,
    eventually,
    overlay,
    receive,
    switched_hosts,
)

pytestmark = pytest.mark.root
VNI = 4097
BURST = 400
SO_RCVBUFFORCE = 33
SECRET = b"attack at dawn, and bring the spare batteries"
SLOW = RotationTimes(announce=0.5, after_departure=0.1)


@asynccontextmanager
async def encrypted_hosts(folder: Path, hosts: int, times: RotationTimes = SLOW) -> AsyncIterator[SwitchedHosts]:
    """Hosts on one encrypted network. `times` are those of the first."""
    async with switched_hosts(folder, 0) as net:
        for number in range(hosts):
            await net.add_host(prefix=f"e{secrets.token_hex(3)}", times=SLOW if number else times)
        net.networks.append(msgspec.structs.replace(overlay(vni=VNI), encrypted=True))
        name_nodes(net)
        await net.apply()
        yield net


def name_nodes(net: SwitchedHosts) -> None:
    """What the managers tell of the nodes: the last announcement of each."""
    net.nodes = [
        NodeEndpoint(
            id=f"{host.name}/net1",
            network_id="net1",
            node_id=host.name,
            host=host.address,
            wireguard=host.driver.encryption.description,
        )
        for host in net.hosts
    ]


async def containers(net: SwitchedHosts) -> list[Container]:
    found = [await net.run_task(host, 5 + number) for number, host in enumerate(net.hosts)]
    await net.apply()
    return found


def on(host: HostUnderTest, work: Callable[[], Any]) -> Any:
    return host.namespace.run(work)


def dropped(host: HostUnderTest) -> int:
    """Packets that the host's input chain dropped."""
    command = ["nft", "list", "chain", *table_name(host.prefix).split(), "input"]
    text = on(host, lambda: subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return sum(int(line.split("packets ")[1].split()[0]) for line in text.splitlines() if "counter packets" in line)


def capture(net: SwitchedHosts) -> socket.socket:
    found: socket.socket = net.switch.run(
        lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    )
    found.setblocking(False)
    return found


def captured(one: socket.socket) -> bytes:
    frames = []
    while True:
        try:
            frames.append(one.recv(65536))
        except BlockingIOError:
            return b"".join(frames)


async def echo_through(one: Container, two: Container, data: bytes) -> None:
    link = await one.connect(two.endpoint.address, 7000)
    with link:
        assert await receive(link) == b"hello"
        await asyncio.to_thread(link.sendall, data)
        assert await receive(link) == data


@pytest.mark.parametrize("encrypted", [True, False])
async def test_traffic_is_unreadable_on_the_switch(tmp_path: Path, encrypted: bool) -> None:
    """Without encryption the capture does show it."""
    async with encrypted_hosts(tmp_path, 3) as net:
        if not encrypted:
            net.networks = [overlay("plain", vni=VNI + 1, subnet="10.0.2.0/24")]
            await net.apply()
        network = "net1" if encrypted else "plain"
        one, two, three = [await net.run_task(host, n, network=network) for n, host in enumerate(net.hosts, 5)]
        await net.apply()
        for server in (two, three):
            await net.serve(server, 7000, "hello")
        with capture(net) as seen:
            await echo_through(one, two, SECRET)
            await echo_through(one, three, SECRET)
            frames = captured(seen)
        assert len(frames) > 1000
        assert (SECRET in frames) is not encrypted
        await assert_verified(net)


def vxlan_frame(vni: int, inner: bytes) -> bytes:
    return struct.pack("!BxxxI", 0x08, vni << 8) + inner


async def test_plaintext_for_an_encrypted_network_is_dropped_and_counted(tmp_path: Path) -> None:
    async with encrypted_hosts(tmp_path, 2) as net:
        plain = overlay("plain", vni=VNI + 1, subnet="10.0.2.0/24")
        net.networks.append(plain)
        await net.apply()
        one, _ = await containers(net)
        beside = await net.run_task(net.hosts[0], 5, network="plain")
        ethernet = bytes.fromhex("02420a00010502000000000188b5") + SECRET
        listening = {}
        for name, container in (("encrypted", one), ("plain", beside)):
            listening[name] = await container.run(
                lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
            )
            listening[name].setblocking(False)
        to = (net.hosts[0].address, 4789)
        with net.switch.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as attacker:
            for _ in range(3):
                attacker.sendto(vxlan_frame(VNI, ethernet), to)
        await net.run_task(net.hosts[1], 6, network="plain")
        await net.apply()
        with net.hosts[1].namespace.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as member:

            def reaches_the_plain_network() -> bool:
                member.sendto(vxlan_frame(VNI + 1, bytes.fromhex("02420a000205") + ethernet[6:]), to)
                return SECRET in captured(listening["plain"])

            await eventually(reaches_the_plain_network)
        assert captured(listening["encrypted"]) == b""
        assert dropped(net.hosts[0]) == 3
        for one_socket in listening.values():
            one_socket.close()


async def test_connections_outlive_the_daemon(tmp_path: Path) -> None:
    async with encrypted_hosts(tmp_path, 2) as net:
        one, two = await containers(net)
        await net.serve(two, 7000, "hello")
        link = await one.connect(two.endpoint.address, 7000)
        with link:
            assert await receive(link) == b"hello"
            key = net.hosts[0].driver.encryption.description
            await restart(net, net.hosts[0], one)
            assert net.hosts[0].driver.encryption.description == key
            await asyncio.to_thread(link.sendall, SECRET)
            assert await receive(link) == SECRET
        await assert_verified(net)


async def test_a_process_that_died_is_replaced(tmp_path: Path) -> None:
    async with encrypted_hosts(tmp_path, 2) as net:
        one, two = await containers(net)
        await net.serve(two, 7000, "hello")
        await echo_through(one, two, SECRET)
        name = device_names(net.hosts[0].prefix)[0]
        found = await asyncio.to_thread(process_of, name)
        os.kill(found, signal.SIGKILL)
        await eventually(lambda: process_of(name) not in (0, found), 10)
        async with asyncio.timeout(20):
            await echo_through(one, two, SECRET)


async def test_packets_wait_for_wireguard_go_on_a_busy_host(tmp_path: Path) -> None:
    """Its process stands still while four times as many packets arrive as the host's default buffer holds."""
    async with encrypted_hosts(tmp_path, 2) as net:
        one, two = await containers(net)
        await net.serve(two, 7000, "hello")
        await echo_through(one, two, SECRET)
        with await two.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listening:
            listening.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
            listening.bind(("0.0.0.0", 7001))
            listening.settimeout(1.0)
            process = await asyncio.to_thread(process_of, device_names(net.hosts[1].prefix)[0])

            def send() -> None:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
                    for _ in range(BURST):
                        sending.sendto(bytes(1000), (two.endpoint.address, 7001))
                        time.sleep(0.001)  # what one host takes at once is another matter

            os.kill(process, signal.SIGSTOP)
            try:
                await one.run(send)
                await eventually(lambda: sent_by(net.hosts[0]) >= BURST)
            finally:
                os.kill(process, signal.SIGCONT)
            assert await asyncio.to_thread(count, listening, BURST) == BURST


async def test_keys_are_rotated_under_traffic_without_loss(tmp_path: Path) -> None:
    async with encrypted_hosts(tmp_path, 2) as net:
        one, two = await containers(net)
        before = [host.driver.encryption.description for host in net.hosts]
        async with pinging(one, two.endpoint.address) as pings:
            await eventually(lambda: pings.sent > 50)
            for host in net.hosts:
                await rotate(net, host)
            await eventually(lambda: pings.received == pings.sent)
        assert pings.received == pings.sent > 500
        after = [host.driver.encryption.description for host in net.hosts]
        assert all(
            a is not None and b is not None and a.public_key != b.public_key for a, b in zip(before, after, strict=True)
        )
        await assert_verified(net)


async def test_two_nodes_that_rotate_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    async with encrypted_hosts(tmp_path, 2) as net:
        one, two = await containers(net)
        before = [host.driver.encryption.description for host in net.hosts]
        async with pinging(one, two.endpoint.address) as pings:
            await eventually(lambda: pings.sent > 50)
            for _ in range(3):
                await asyncio.gather(*(rotate(net, host) for host in net.hosts))
            await eventually(lambda: pings.received == pings.sent)
        assert pings.received == pings.sent > 300
        after = [host.driver.encryption.description for host in net.hosts]
        assert all(
            a is not None and b is not None and a.public_key != b.public_key for a, b in zip(before, after, strict=True)
        )
        await assert_verified(net)


async def test_keys_are_rotated_by_themselves_without_loss(tmp_path: Path) -> None:
    """The managers tell of each announcement as soon as it is made."""
    async with encrypted_hosts(tmp_path, 2, RotationTimes(period=1.0, announce=1.0)) as net:
        one, two = await containers(net)
        keys: set[str] = set()
        changed = asyncio.Event()
        for host in net.hosts:
            host.driver.encryption.on_announcement = changed.set

        async def tell() -> None:
            while True:
                await changed.wait()
                changed.clear()
                name_nodes(net)
                keys.update(node.wireguard.public_key for node in net.nodes if node.wireguard is not None)
                await net.apply()

        telling = asyncio.create_task(tell())
        async with pinging(one, two.endpoint.address) as pings:
            await eventually(lambda: telling.done() or len(keys) >= 5, 60)
            assert not telling.done(), telling
            await eventually(lambda: pings.received == pings.sent)
        telling.cancel()
        assert pings.received == pings.sent > 500


async def test_a_node_that_leaves_is_forgotten_and_keys_are_made_anew(tmp_path: Path) -> None:
    async with encrypted_hosts(tmp_path, 3) as net:
        await containers(net)
        key = net.hosts[0].driver.encryption.description
        gone = net.nodes.pop()
        await net.apply()
        assert gone.wireguard is not None
        assert gone.wireguard.public_key not in await asyncio.to_thread(peers_of, net.hosts[0])
        await eventually(lambda: net.hosts[0].driver.encryption.description != key)


async def test_a_host_without_wireguard_refuses_the_network_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.network.wireguard.device.shutil.which", lambda name: None)
    async with switched_hosts(tmp_path, 1) as net:
        host = net.hosts[0]
        network = msgspec.structs.replace(overlay(vni=VNI, name="secrets"), encrypted=True)
        (failure,) = await host.driver.apply(NetworkChanges((network,)))
        assert "secrets" in failure.reason
        assert "wireguard-tools" in failure.reason
        await host.driver.create_sandbox("c1")
        with pytest.raises(UnsupportedError, match="secrets"):
            await host.driver.attach("c1", Attachment("net1", "10.0.1.5/24", "eth0"))


async def test_wireguard_go_keeps_the_mtu_that_is_set_right_after_its_start(tmp_path: Path) -> None:
    name = f"e{secrets.token_hex(3)}-mtu"

    def kept_mtu() -> int:
        device.start_process(name)
        try:
            subprocess.run(["ip", "link", "set", name, "mtu", "1440"], check=True)
            subprocess.run(["wg", "show", name], stdout=subprocess.DEVNULL, check=True)
            shown = subprocess.run(["ip", "-j", "link", "show", name], capture_output=True, check=True).stdout
            return int(msgspec.json.decode(shown)[0]["mtu"])
        finally:
            device.end_process(name)

    def rounds() -> list[int]:
        # On one processor the process that wireguard-go leaves behind often runs after the next command.
        processors = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(processors)})
        try:
            return [kept_mtu() for _ in range(20)]
        finally:
            os.sched_setaffinity(0, processors)

    async with switched_hosts(tmp_path, 1) as net:
        assert set(await asyncio.to_thread(on, net.hosts[0], rounds)) == {1440}


def count(listening: socket.socket, wanted: int) -> int:
    """How many of the wanted datagrams arrive, with a second between two of them at most."""
    with contextlib.suppress(TimeoutError):
        for number in range(wanted):
            if not listening.recv(2000):
                return number
        return wanted
    return number


def sent_by(host: HostUnderTest) -> int:
    """UDP datagrams that the host has sent since its start, which are those of its tunnels."""
    lines = on(host, lambda: Path("/proc/net/snmp").read_text()).splitlines()
    names, values = (line.split() for line in lines if line.startswith("Udp:"))
    return int(values[names.index("OutDatagrams")])


async def restart(net: SwitchedHosts, host: HostUnderTest, container: Container) -> None:
    """End the host's daemon and start another, as after a crash."""
    await host.driver.close()
    host.driver = host.new_driver()
    await host.driver.start()
    changes = NetworkChanges(tuple(net.networks), tuple(net.endpoints.values()), nodes=tuple(net.nodes))
    assert await host.driver.apply(changes) == ()
    await host.driver.adopt(container.id, [Attachment("net1", f"{container.endpoint.address}/24", "eth0")])
    await host.driver.clean_sandboxes(())


async def rotate(net: SwitchedHosts, host: HostUnderTest) -> None:
    """Rotate a host's key as its daemon does, with the managers telling the others at once."""
    rotation = host.driver.encryption.rotation
    await rotation.begin()
    name_nodes(net)
    await net.apply()
    await rotation.finish()
    name_nodes(net)
    await net.apply()


async def assert_verified(net: SwitchedHosts) -> None:
    for host in net.hosts:
        assert [one for one in await host.driver.verify() if one.kind != "stray"] == []


def process_of(device: str) -> int:
    """The process of wireguard-go with a device; 0 if there is none."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"wireguard-go") and device.encode() in words:
            return int(path.parent.name)
    return 0


def peers_of(host: HostUnderTest) -> list[str]:
    command = ["wg", "show", device_names(host.prefix)[0], "peers"]
    text: str = on(host, lambda: subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return text.split()


class Pings:
    """Numbered datagrams to an echo server and back, one every two milliseconds."""

    def __init__(self) -> None:
        self.sent = self.received = 0


@asynccontextmanager
async def pinging(one: Container, address: str) -> AsyncIterator[Pings]:
    pings = Pings()
    link = await one.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
    link.setblocking(False)

    def read() -> None:
        data = link.recv(2000)
        pings.received += data[20] == 0

    async def send() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(link, read)
        while True:
            header = struct.pack("!BBHHH", 8, 0, 0, 77, pings.sent & 0xFFFF)
            total = sum(struct.unpack("!4H", header))
            total = (total & 0xFFFF) + (total >> 16)
            link.sendto(struct.pack("!BBHHH", 8, 0, ~total & 0xFFFF, 77, pings.sent & 0xFFFF), (address, 0))
            pings.sent += 1
            await asyncio.sleep(0.002)

    task = asyncio.create_task(send())
    try:
        yield pings
    finally:
        task.cancel()
        asyncio.get_running_loop().remove_reader(link)
        link.close()
