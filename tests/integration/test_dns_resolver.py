"""DNS resolver inside containers on a real kernel, with an upstream nameserver on the switch."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dnslib
import pytest

from agent.dns.forwarder import QUERY_TIMEOUT_SECONDS, SERVER_TIMEOUT_SECONDS
from agent.dns.server import MAX_CONNECTIONS
from agent.network.model import Attachment, NetworkChanges
from covey.objects.assignment import NetworkEndpoint, VirtualService
from covey.states import EndpointMode
from tests.support.switched_hosts import SECONDS, SwitchedHosts, eventually, overlay, switched_hosts

pytestmark = pytest.mark.root


class Upstream(asyncio.DatagramProtocol):
    """Upstream nameserver: answers known.example, truncates big.example over UDP, does not answer silent.example."""

    def __init__(self, asked: list[str]) -> None:
        self.asked = asked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked.append(str(dnslib.DNSRecord.parse(data).q.qname))
        if self.asked[-1] == "flood.example.":
            for _ in range(200):
                self.transport.sendto(b"\0\0" + data[2:], addr)
            return
        reply = answer(data, over_tcp=False)
        if reply:
            self.transport.sendto(reply, addr)


def answer(data: bytes, *, over_tcp: bool) -> bytes | None:
    question = dnslib.DNSRecord.parse(data)
    name = str(question.q.qname).lower()
    reply = question.reply()
    match name:
        case "known.example.":
            reply.add_answer(*dnslib.RR.fromZone("known.example. 60 A 192.0.2.7"))
        case "loop.example.":
            reply.add_answer(*dnslib.RR.fromZone("loop.example. 60 CNAME loop.example."))
        case "large.example.":
            for i in range(200):
                reply.add_answer(*dnslib.RR.fromZone(f"large.example. 60 A 192.0.2.{i + 1}"))
        case "big.example." if over_tcp:
            for i in range(60):
                reply.add_answer(*dnslib.RR.fromZone(f"big.example. 60 A 192.0.2.{i + 1}"))
        case "big.example.":
            reply.header.tc = 1
        case "silent.example.":
            return None
        case "never.example.":
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
            reply.add_auth(*dnslib.RR.fromZone("example. 60 SOA ns.example. root.example. 1 60 60 60 60"))
        case _:
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
    return reply.pack()


@asynccontextmanager
async def upstream(net: SwitchedHosts) -> AsyncIterator[list[str]]:
    """Yields the names that it was asked for over UDP."""
    asked: list[str] = []
    udp = net.switch.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    udp.bind(("10.99.0.254", 53))
    tcp = net.switch.run(lambda: socket.create_server(("10.99.0.254", 53)))

    async def serve_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        reply = answer(await reader.readexactly(size), over_tcp=True) or b""
        writer.write(len(reply).to_bytes(2, "big") + reply)
        writer.close()

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Upstream(asked), sock=udp)
    server = await asyncio.start_server(serve_tcp, sock=tcp)
    try:
        yield asked
    finally:
        transport.close()
        server.close()


async def test_names_of_services_tasks_and_containers_resolve(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 2) as net:
        net.networks.append(overlay(name="shop"))
        net.services += [
            VirtualService(
                id="id-web/net1",
                network_id="net1",
                service_id="id-web",
                name="Web",
                address="10.0.1.100",
                aliases=("front",),
            ),
            VirtualService(id="id-db/net1", network_id="net1", service_id="id-db", name="db", mode=EndpointMode.DNSRR),
        ]
        await net.apply()
        await net.run_task(net.hosts[0], 10, service="web")
        await net.run_task(net.hosts[1], 11, service="web")
        await net.run_task(net.hosts[1], 12, service="web", ready=False)
        for last in (20, 21):
            await net.run_task(net.hosts[1], last, service="db")
        client = await net.run_task(net.hosts[0], 50)
        await net.apply()
        assert await client.addresses("web") == ["10.0.1.100"]
        assert await client.addresses("FRONT.shop") == ["10.0.1.100"]
        assert await client.addresses("tasks.web") == ["10.0.1.10", "10.0.1.11"]
        assert await client.addresses("db") == ["10.0.1.20", "10.0.1.21"]
        assert await client.addresses("h12") == ["10.0.1.12"]
        firsts = {str((await client.resolve("db")).rr[0].rdata) for _ in range(4)}
        assert firsts == {"10.0.1.20", "10.0.1.21"}
        over_tcp = await client.resolve("web", tcp=True)
        assert [str(item.rdata) for item in over_tcp.rr] == ["10.0.1.100"]
        six = await client.resolve("web", "AAAA")
        assert (six.header.rcode, six.rr) == (dnslib.RCODE.NOERROR, [])
        back = await client.resolve("10.1.0.10.in-addr.arpa", "PTR")
        assert str(back.rr[0].rdata) == "web.10.shop."


async def test_a_changed_endpoint_is_resolved_at_once(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        net.networks.append(overlay())
        net.services.append(
            VirtualService(id="id-db/net1", network_id="net1", service_id="id-db", name="db", mode=EndpointMode.DNSRR)
        )
        await net.apply()
        await net.run_task(net.hosts[0], 20, service="db")
        client = await net.run_task(net.hosts[0], 50)
        await net.apply()
        assert await client.addresses("db") == ["10.0.1.20"]
        await net.run_task(net.hosts[0], 21, service="db")
        del net.endpoints["task20"]
        await net.apply()
        assert await client.addresses("db") == ["10.0.1.21"]


async def test_names_of_other_networks_do_not_resolve(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net, upstream(net):
        net.networks += [overlay(), overlay("net2", vni=4098, name="other", subnet="10.0.2.0/24")]
        await net.apply()
        one = await net.run_task(net.hosts[0], 5)
        two = await net.run_task(net.hosts[0], 6, network="net2")
        await one.host.connect(one.id, "docker_gwbridge", "eth2")
        await net.apply()
        assert await two.addresses("h6") == ["10.0.2.6"]
        assert (await one.resolve("h6")).header.rcode == dnslib.RCODE.NXDOMAIN
        await one.host.driver.attach(one.id, Attachment("net2", "10.0.2.5/24", "eth1", aliases=("extra",)))
        assert await one.addresses("h6") == ["10.0.2.6"]
        assert await two.addresses("extra.other") == ["10.0.2.5"]


async def test_other_names_are_forwarded_to_the_hosts_nameservers(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net, upstream(net):
        net.networks.append(overlay())
        await net.apply()
        client = await net.run_task(net.hosts[0], 50)
        await client.host.connect(client.id, "docker_gwbridge", "eth1")
        assert await client.addresses("known.example") == ["192.0.2.7"]
        assert (await client.resolve("unknown.example")).header.rcode == dnslib.RCODE.NXDOMAIN
        assert (await client.resolve("big.example")).header.tc == 1
        assert len((await client.resolve("big.example", tcp=True)).rr) == 60


async def test_questions_come_from_the_containers_own_namespace(tmp_path: Path) -> None:
    """A container without a way out asks no one, not even the host's nameserver: names cannot carry data out of an internal network."""
    async with switched_hosts(tmp_path, 1) as net, upstream(net) as asked:
        net.networks.append(overlay())
        await net.apply()
        client = await net.run_task(net.hosts[0], 50)
        assert (await client.resolve("known.example")).header.rcode == dnslib.RCODE.SERVFAIL
        assert asked == [], "a container on internal networks reached the outside by its questions"
        await client.host.connect(client.id, "docker_gwbridge", "eth1")
        assert await client.addresses("known.example") == ["192.0.2.7"]


async def test_what_does_not_exist_is_asked_once_until_a_network_has_it(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net, upstream(net) as asked:
        net.networks.append(overlay())
        await net.apply()
        client = await net.run_task(net.hosts[0], 50)
        await client.host.connect(client.id, "docker_gwbridge", "eth1")
        question = dnslib.DNSRecord.question("never.example")
        for tcp in (False, True, False):
            found = dnslib.DNSRecord.parse(
                await client.run(lambda tcp=tcp: question.send("127.0.0.11", 53, tcp=tcp, timeout=9))
            )
            assert (found.header.rcode, found.header.id) == (dnslib.RCODE.NXDOMAIN, question.header.id)
        assert asked == ["never.example."]
        assert found.auth[0].ttl <= 10
        net.services.append(
            VirtualService(id="s/net1", network_id="net1", service_id="s", name="never.example", address="10.0.1.3")
        )
        await net.apply()
        assert await client.addresses("never.example") == ["10.0.1.3"]


async def test_own_nameservers_are_those_that_the_container_sees(tmp_path: Path) -> None:
    """`--dns 127.0.0.1` is a server inside the container, and the host's loopback is not the container's."""
    async with switched_hosts(tmp_path, 1) as net, upstream(net):
        net.networks.append(overlay())
        await net.apply()
        client = await net.run_task(net.hosts[0], 50, nameservers=("127.0.0.1",))
        await client.host.connect(client.id, "docker_gwbridge", "eth1")
        assert (await client.resolve("known.example")).header.rcode == dnslib.RCODE.SERVFAIL
        own = await client.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        own.bind(("127.0.0.1", 53))
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Upstream([]), sock=own)
        try:
            assert await client.addresses("known.example") == ["192.0.2.7"]
        finally:
            transport.close()


async def test_a_nameserver_on_the_hosts_loopback_is_asked_from_the_host(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        net.hosts[0].nameservers = ("127.0.0.53",)
        net.networks.append(overlay())
        await net.apply()
        client = await net.run_task(net.hosts[0], 50)
        local = await asyncio.to_thread(
            net.hosts[0].namespace.run, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        )
        local.bind(("127.0.0.53", 53))
        asked: list[str] = []
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Upstream(asked), sock=local)
        try:
            assert (await client.resolve("known.example")).header.rcode == dnslib.RCODE.SERVFAIL
            assert asked == [], "a container on internal networks reached the outside by its questions"
            await client.host.connect(client.id, "docker_gwbridge", "eth1")
            assert await client.addresses("known.example") == ["192.0.2.7"]
        finally:
            transport.close()


async def test_a_nameserver_that_lies_floods_or_sends_too_much_is_held_off(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net, upstream(net):
        net.networks.append(overlay())
        await net.apply()
        client = await net.run_task(net.hosts[0], 50)
        await net.apply()
        await client.host.connect(client.id, "docker_gwbridge", "eth1")
        large = await client.resolve("large.example")
        assert (large.header.tc, large.rr) == (1, []), "the client got more than the 512 bytes that it can take"
        loop = await client.resolve("loop.example")
        assert [str(item.rdata) for item in loop.rr] == ["loop.example."]
        began = time.monotonic()
        slow = asyncio.create_task(client.resolve("flood.example"))
        assert await client.addresses("h50") == ["10.0.1.50"]
        assert (await slow).header.rcode == dnslib.RCODE.SERVFAIL
        assert time.monotonic() - began < SERVER_TIMEOUT_SECONDS, "wrong replies were read for as long as they came"


async def test_a_silent_nameserver_gives_servfail_and_delays_no_other_question(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net, upstream(net):
        net.networks.append(overlay())
        await net.apply()
        client = await net.run_task(net.hosts[0], 50)
        await net.apply()
        await client.host.connect(client.id, "docker_gwbridge", "eth1")
        question = dnslib.DNSRecord.question("silent.example")
        slow = asyncio.create_task(client.run(lambda: question.send("127.0.0.11", 53, timeout=9)))
        assert await client.addresses("h50") == ["10.0.1.50"]
        assert not slow.done(), "the other question waited for the silent nameserver"
        assert dnslib.DNSRecord.parse(await slow).header.rcode == dnslib.RCODE.SERVFAIL


async def test_without_a_reachable_nameserver_the_answer_is_servfail_soon(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        net.networks.append(overlay())
        await net.apply()
        client = await net.run_task(net.hosts[0], 50)
        began = time.monotonic()
        assert (await client.resolve("known.example")).header.rcode == dnslib.RCODE.SERVFAIL
        assert time.monotonic() - began < QUERY_TIMEOUT_SECONDS, "it waited for a nameserver that does not exist"


async def test_port_53_is_free_for_the_application_and_dig_accepts_the_replies(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        net.networks.append(overlay())
        await net.apply()
        client = await net.run_task(net.hosts[0], 50)
        await net.apply()
        (await client.run(lambda: socket.create_server(("0.0.0.0", 53)))).close()
        command = ["nsenter", f"--net={client.namespace.path}", "dig", "+short", "+time=2", "@127.0.0.11", "H50.web"]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=10, check=True)
        assert done.stdout == "10.0.1.50\n"


async def test_the_resolver_uses_another_port_when_the_preferred_one_is_in_use(tmp_path: Path) -> None:
    """The daemon restarts while the application uses the resolver's preferred port."""
    async with switched_hosts(tmp_path, 1) as net:
        net.networks.append(overlay())
        await net.apply()
        host = net.hosts[0]
        client = await net.run_task(host, 50)
        await net.apply()
        await host.driver.close()
        application_sockets = [
            await client.run(lambda kind=kind: socket.socket(socket.AF_INET, kind))
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
        ]
        for link in application_sockets:
            link.bind(("0.0.0.0", 41053))
        application_sockets[1].listen()
        host.driver = host.new_driver()
        await host.driver.start()
        await net.apply()
        await host.driver.adopt(client.id, (Attachment("net1", "10.0.1.50/24", "eth0"),))
        assert await client.addresses("h50") == ["10.0.1.50"]
        assert len((await client.resolve("h50", tcp=True)).rr) == 1
        for link in application_sockets:
            link.close()


async def test_many_addresses_are_truncated_over_udp_and_complete_over_tcp(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        net.networks.append(overlay())
        await net.apply()
        client = await net.run_task(net.hosts[0], 50)
        net.services.append(
            VirtualService(id="s/net1", network_id="net1", service_id="s", name="many", address="10.0.1.3")
        )
        many = {
            f"m{i}": NetworkEndpoint(
                id=f"m{i}/net1", network_id="net1", host="10.99.0.9", address=f"10.0.1.{i}", service_id="s", ready=True
            )
            for i in range(100, 200)
        }
        net.endpoints |= many
        await net.apply()
        cut = await client.resolve("tasks.many")
        assert cut.header.tc == 1
        assert len(cut.rr) == 30
        assert len((await client.resolve("tasks.many", tcp=True)).rr) == 100


async def test_hostile_clients_delay_no_one_and_leave_the_resolver_as_it_was(tmp_path: Path) -> None:
    """Garbage, oversized packets, questions for ever on connections, and connections that say nothing, from another container."""
    async with switched_hosts(tmp_path, 1) as net:
        net.networks.append(overlay())
        await net.apply()
        client, hostile = await net.run_task(net.hosts[0], 50), await net.run_task(net.hosts[0], 66)
        await net.apply()
        question = dnslib.DNSRecord.question("h50").pack()
        stop = threading.Event()

        def connected(kind: int) -> socket.socket:
            link = socket.socket(socket.AF_INET, kind)
            link.settimeout(SECONDS)
            link.connect(("127.0.0.11", 53))
            return link

        def ask_for_ever(link: socket.socket) -> int:
            """Write without a pause. A reader takes the answers, so that the connection never fills."""
            many = (len(question).to_bytes(2, "big") + question) * 100
            threading.Thread(target=drain, args=(link,), daemon=True).start()
            sent, until = 0, time.monotonic() + SECONDS  # it ends even if the event loop never runs again
            while not stop.is_set() and time.monotonic() < until:
                link.sendall(many)
                sent += 1
            return sent

        def drain(link: socket.socket) -> None:
            while not stop.is_set() and link.recv(1 << 16):
                pass

        def send_garbage(link: socket.socket) -> None:
            while not stop.is_set():
                for packet in (b"", b"\0" * 11, b"\xff" * 60_000, question[:12] + b"\xc0\x0c\0\1\0\1", question[:-3]):
                    with contextlib.suppress(OSError):
                        link.send(packet)

        silent = [await hostile.run(lambda: connected(socket.SOCK_STREAM)) for _ in range(MAX_CONNECTIONS // 2)]
        work = [
            asyncio.create_task(
                asyncio.to_thread(ask_for_ever, await hostile.run(lambda: connected(socket.SOCK_STREAM)))
            ),
            asyncio.create_task(
                asyncio.to_thread(send_garbage, await hostile.run(lambda: connected(socket.SOCK_DGRAM)))
            ),
        ]
        try:
            delays = []
            for _ in range(20):
                began = time.monotonic()
                assert await client.addresses("h50") == ["10.0.1.50"]
                delays.append(time.monotonic() - began)
            assert sorted(delays)[10] < 0.2, delays
        finally:
            stop.set()
            asked = (await asyncio.gather(*work))[0]
            for link in silent:
                link.close()
        assert asked > 5, "the connection did not get its answers"
        assert await hostile.addresses("h50") == ["10.0.1.50"]


async def test_a_destroyed_container_leaves_no_resolver(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        host = net.hosts[0]

        def handles() -> int:
            return len(list(Path("/proc/self/fd").iterdir()))

        await host.driver.create_sandbox("first")
        await host.driver.destroy_sandbox("first")
        before = handles()
        for number in range(5):
            await host.driver.create_sandbox(f"c{number}")
            await host.driver.destroy_sandbox(f"c{number}")
        await eventually(lambda: handles() <= before)
        assert await host.driver.apply(NetworkChanges()) == ()
