"""VIPs of services in the sandbox of their network, on a real kernel: both families, callers' addresses, restarts, flushes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.network import links, netns
from agent.network.model import Attachment, NetworkChanges, Subnet
from agent.network.nftables import NftablesContext
from agent.network.plan.vips import TABLE
from covey.objects.assignment import NetworkEndpoint, VirtualService
from tests.support import built_links
from tests.support.switched_hosts import Container, SwitchedHosts, overlay, receive, switched_hosts

pytestmark = pytest.mark.root
VIP, VIP6, PREFIX = "10.0.1.100", "fd00:1::100", "fd00:1::"
SECONDS = 5.0


@asynccontextmanager
async def dual_stack(folder: Path, hosts: int) -> AsyncIterator[SwitchedHosts]:
    """A network with both families and the service `web`, which has a VIP of each."""
    async with switched_hosts(folder, hosts) as net:
        net.networks.append(msgspec.structs.replace(overlay(), more_subnets=(Subnet("fd00:1::/64", "fd00:1::1"),)))
        net.services.append(
            VirtualService(
                id="id-web/net1", network_id="net1", service_id="id-web", name="web", address=VIP, address6=VIP6
            )
        )
        await net.apply()
        yield net


async def serve_callers(container: Container, ends: list[asyncio.Server]) -> None:
    """Answer every connection with the container's own address and the caller's."""

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own, caller = writer.get_extra_info("sockname")[0], writer.get_extra_info("peername")[0]
        writer.write(f"{own} {caller}".replace("::ffff:", "").encode())
        await writer.drain()
        writer.close()

    def listen() -> socket.socket:
        return socket.create_server(("::", 80), family=socket.AF_INET6, backlog=128, dualstack_ipv6=True)

    ends.append(await asyncio.start_server(tell, sock=await container.run(listen)))


async def send_until_reset(link: socket.socket) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            link.send(b"anyone?")
            await receive(link)


async def test_both_families_reach_local_and_remote_backends_and_see_the_callers_address(tmp_path: Path) -> None:
    async with dual_stack(tmp_path, 2) as net:
        tasks = [await net.run_task(net.hosts[i % 2], 10 + i, service="web", ipv6=PREFIX) for i in range(3)]
        client = await net.run_task(net.hosts[0], 50, ipv6=PREFIX)
        await net.apply()
        ends: list[asyncio.Server] = []
        for task in tasks:
            await serve_callers(task, ends)
        for vip, prefix in ((VIP, "10.0.1."), (VIP6, PREFIX)):
            answers = [await client.fetch(vip) for _ in range(9)]
            assert {item: answers.count(item) for item in answers} == {
                f"{prefix}{last} {prefix}50": 3 for last in (10, 11, 12)
            }
            assert await client.fetch(f"{prefix}11") == f"{prefix}11 {prefix}50"
            own = {await tasks[0].fetch(vip) for _ in range(3)}
            assert own == {f"{prefix}10 {vip}", f"{prefix}11 {prefix}10", f"{prefix}12 {prefix}10"}
        for end in ends:
            end.close()


async def test_names_resolve_to_the_addresses_of_both_families(tmp_path: Path) -> None:
    async with dual_stack(tmp_path, 1) as net:
        await net.run_task(net.hosts[0], 10, service="web", ipv6=PREFIX)
        client = await net.run_task(net.hosts[0], 50, ipv6=PREFIX)
        await net.apply()

        async def found(name: str, kind: str) -> list[str]:
            return [str(item.rdata) for item in (await client.resolve(name, kind)).rr]

        assert await found("web", "A") == [VIP]
        assert await found("web", "AAAA") == [VIP6]
        assert await found("tasks.web", "AAAA") == ["fd00:1::10"]
        assert await found("h50", "AAAA") == ["fd00:1::50"]


async def test_a_vip_without_backends_refuses_both_families_at_once(tmp_path: Path) -> None:
    async with dual_stack(tmp_path, 1) as net:
        client = await net.run_task(net.hosts[0], 50, ipv6=PREFIX)
        await net.apply()
        for vip in (VIP, VIP6):
            for seconds in (SECONDS, 1):  # the kernel takes up to a second to say that a new interface has IPv6
                async with asyncio.timeout(seconds):
                    with pytest.raises(ConnectionRefusedError):
                        await client.fetch(vip)


async def test_a_container_that_flushes_its_own_rules_keeps_its_vips(tmp_path: Path) -> None:
    async with dual_stack(tmp_path, 1) as net:
        task = await net.run_task(net.hosts[0], 10, service="web", ipv6=PREFIX)
        client = await net.run_task(net.hosts[0], 50, ipv6=PREFIX)
        await net.apply()
        await net.serve(task)
        context = NftablesContext(client.namespace)
        tables = context.run("list tables").split("\n")
        context.run("flush ruleset")
        context.close()
        assert [line for line in tables if line] == ["table ip covey-dns"]
        assert await client.fetch(VIP) == "10.0.1.10"


async def test_br_netfilter_is_on_in_the_sandbox_alone(tmp_path: Path) -> None:
    async with dual_stack(tmp_path, 1) as net:
        setting = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
        before = net.hosts[0].namespace.run(setting.read_text)
        await net.run_task(net.hosts[0], 50, ipv6=PREFIX)
        sandbox = netns.Namespace(str(net.hosts[0].folder / "netns/networks/net1"))
        assert sandbox.run(setting.read_text).strip() == "1"
        assert net.hosts[0].namespace.run(setting.read_text) == before
        sandbox.close()


async def test_connections_over_ipv6_to_a_task_that_is_gone_are_reset(tmp_path: Path) -> None:
    async with dual_stack(tmp_path, 2) as net:
        task = await net.run_task(net.hosts[1], 10, service="web", ipv6=PREFIX)
        client = await net.run_task(net.hosts[0], 50, ipv6=PREFIX)
        await net.apply()
        await net.serve(task, greeting="hello")
        link = await client.connect(VIP6)
        assert await receive(link) == b"hello"
        del net.endpoints["task10"]
        await net.apply()
        with pytest.raises(ConnectionResetError):
            await send_until_reset(link)
        link.close()


async def test_a_new_daemon_takes_over_vips_without_a_loss_and_removes_what_went_meanwhile(tmp_path: Path) -> None:
    async with dual_stack(tmp_path, 2) as net:
        host = net.hosts[0]
        task = await net.run_task(net.hosts[1], 10, service="web", ipv6=PREFIX)
        await net.run_task(net.hosts[1], 11, service="web", ipv6=PREFIX)
        client = await net.run_task(host, 50, ipv6=PREFIX)
        gone = VirtualService(
            id="id-gone/net1", network_id="net1", service_id="id-gone", name="gone", address="10.0.1.101"
        )
        net.services.append(gone)
        await net.apply()
        await net.serve(task, greeting="hello")
        del net.endpoints["task11"]
        await net.apply()
        link = await client.connect(VIP)
        assert await receive(link) == b"hello"
        await host.driver.close()
        net.services.remove(gone)
        host.driver = host.new_driver()
        await host.driver.start()
        now = NetworkChanges(tuple(net.networks), tuple(net.endpoints.values()), tuple(net.services))
        assert await host.driver.apply(now) == ()
        await host.driver.adopt(client.id, (Attachment("net1", "10.0.1.50/24", "eth0", address6=f"{PREFIX}50/64"),))
        await host.driver.clean_sandboxes(())
        await host.driver.clean()
        link.send(b"still here")
        assert await receive(link) == b"still here"
        link.close()
        assert await host.driver.verify() == ()
        context = NftablesContext(sandbox := netns.Namespace(str(host.folder / "netns/networks/net1")))
        assert "10.0.1.101" not in context.run(f"list table {TABLE}")
        context.close()
        sandbox.close()


async def test_a_vxlan_id_left_by_a_dead_daemon_is_taken_over(tmp_path: Path) -> None:
    """While the daemon was down, its network was removed and the id was given to another one."""
    async with switched_hosts(tmp_path, 2) as net:
        net.networks.append(overlay())
        await net.apply()
        host = net.hosts[0]
        await host.driver.close()
        net.networks = [overlay("net2")]
        host.driver = host.new_driver()
        await host.driver.start()
        await net.apply()
        one, two = await net.run_task(host, 5, network="net2"), await net.run_task(net.hosts[1], 6, network="net2")
        await net.apply()
        await net.serve(two)
        assert await one.fetch("10.0.1.6") == "10.0.1.6"
        assert await host.driver.clean() == ("network net1",)


async def test_what_is_lost_in_the_sandbox_is_named_and_repaired(tmp_path: Path) -> None:
    async with dual_stack(tmp_path, 2) as net:
        task = await net.run_task(net.hosts[1], 10, service="web", ipv6=PREFIX)
        client = await net.run_task(net.hosts[0], 50, ipv6=PREFIX)
        await net.apply()
        await net.serve(task)
        driver = net.hosts[0].driver
        assert await driver.verify() == ()
        sandbox = netns.Namespace(str(net.hosts[0].folder / "netns/networks/net1"))
        links.run_in_namespace(sandbox, "lose the tunnel", lambda route: links.delete_link(route, "vxlan0"))
        context = NftablesContext(sandbox)
        context.run("flush ruleset")
        context.close()
        sandbox.close()
        assert await driver.repair() != ()
        assert await driver.verify() == ()
        assert await client.fetch(VIP) == "10.0.1.10"


async def test_an_explicit_mac_address_is_used_on_both_hosts(tmp_path: Path) -> None:
    mac = "02:00:5e:00:53:07"
    async with switched_hosts(tmp_path, 2) as net:
        net.networks.append(overlay())
        await net.apply()
        two = await net.run_task(net.hosts[1], 6)
        await net.hosts[1].driver.detach(two.id, "net1")
        await net.hosts[1].driver.attach(two.id, Attachment("net1", "10.0.1.6/24", "eth0", mac=mac))
        net.endpoints["task6"] = msgspec.structs.replace(two.endpoint, mac=mac)
        one = await net.run_task(net.hosts[0], 5)
        await net.apply()
        await net.serve(two)
        assert await one.fetch("10.0.1.6") == "10.0.1.6"
        found = links.run_in_namespace(
            two.namespace, "read", lambda route: built_links.link_mac(route, links.index_of(route, "eth0"))
        )
        assert found == mac


def many(services: int, backends: int) -> NetworkChanges:
    """Services with remote backends on one network."""
    network = overlay(subnet="10.0.0.0/8")
    endpoints = tuple(
        NetworkEndpoint(
            id=f"t{s}x{b}/net1", network_id="net1", host="10.99.0.9", address=f"10.{b + 1}.{s // 250}.{s % 250 + 2}",
            service_id=f"s{s}", ready=True,
        )
        for s in range(services)
        for b in range(backends)
    )  # fmt: skip
    virtual = tuple(
        VirtualService(
            id=f"s{s}/net1",
            network_id="net1",
            service_id=f"s{s}",
            name=f"n{s}",
            address=f"10.200.{s // 250}.{s % 250 + 2}",
        )
        for s in range(services)
    )
    return NetworkChanges((network,), endpoints, virtual)


async def test_a_change_of_one_endpoint_of_many_changes_its_own_rules_alone(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        driver = net.hosts[0].driver
        changes = many(50, 10)
        assert await driver.apply(changes) == ()
        one = msgspec.structs.replace(changes.endpoints[0], ready=False)
        sandbox = netns.Namespace(str(net.hosts[0].folder / "netns/networks/net1"))
        context = NftablesContext(sandbox)
        before = context.run("list table inet covey-vips").splitlines()
        assert await driver.apply(NetworkChanges(endpoints=(one,))) == ()
        after = context.run("list table inet covey-vips").splitlines()
        changed = [line for line in after if "numgen" in line and line not in before]
        assert len(changed) == 1, changed
        assert one.address not in changed[0]
        context.close()
        sandbox.close()


async def test_the_first_packets_of_a_new_container_pass_on_a_busy_host(tmp_path: Path) -> None:
    """The kernel sees to the carrier of new devices later, behind the work on others; what they send before is lost."""
    async with switched_hosts(tmp_path, 1) as net:
        net.networks.append(overlay())
        await net.apply()
        host = net.hosts[0]
        await net.serve(await net.run_task(host, 5))
        other = netns.anonymous_namespace()
        done = asyncio.Event()

        def pair(route: Any) -> None:
            route.link("add", ifname="busy0", kind="veth", peer={"ifname": "busy1"})
            for name in ("busy0", "busy1"):
                route.link("set", index=links.index_of(route, name), state="up")
            links.delete_link(route, "busy0")

        async def work() -> None:
            while not done.is_set():
                await asyncio.to_thread(links.run_in_namespace, other, "work", pair)

        busy = asyncio.create_task(work())
        slowest = 0.0
        for last in range(20, 60):
            container = await net.run_task(host, last)
            began = time.monotonic()
            assert await container.fetch("10.0.1.5") == "10.0.1.5"
            slowest = max(slowest, time.monotonic() - began)
        done.set()
        await busy
        other.close()
        assert slowest < 0.9


@pytest.mark.parametrize(("vip", "family"), [(VIP, socket.AF_INET), (VIP6, socket.AF_INET6)])
@pytest.mark.parametrize("host", [0, 1])
async def test_the_late_reply_of_a_leaving_task_comes_from_the_vip(
    tmp_path: Path, vip: str, family: socket.AddressFamily, host: int
) -> None:
    """A connected socket takes answers from the VIP alone, also after its flow has moved to another task."""
    async with dual_stack(tmp_path, 2) as net:
        task = await net.run_task(net.hosts[host], 10, service="web", ipv6=PREFIX)
        client = await net.run_task(net.hosts[0], 50, ipv6=PREFIX)
        await net.apply()

        def listen() -> socket.socket:
            server = socket.socket(family, socket.SOCK_DGRAM)
            server.bind(("", 80))
            server.settimeout(SECONDS)
            return server

        def connect() -> socket.socket:
            asking = socket.socket(family, socket.SOCK_DGRAM)
            asking.connect((vip, 80))
            asking.settimeout(SECONDS)
            return asking

        with await task.run(listen) as server, await client.run(connect) as asking:
            asking.send(b"first")
            question, caller = await asyncio.to_thread(server.recvfrom, 100)
            net.endpoints["task10"] = msgspec.structs.replace(net.endpoints["task10"], ready=False)
            await net.apply()
            await _until_flow_is_gone(net, asking)
            server.sendto(b"answer to " + question, caller)
            assert await asyncio.to_thread(asking.recv, 100) == b"answer to first"


async def _until_flow_is_gone(net: SwitchedHosts, asking: socket.socket) -> None:
    sandbox = netns.Namespace(str(net.hosts[0].folder / "netns/networks/net1"))
    port = f" sport={asking.getsockname()[1]} dport=80 "
    async with asyncio.timeout(SECONDS):
        while port in sandbox.run(Path("/proc/thread-self/net/nf_conntrack").read_text):  # noqa: ASYNC110 - the kernel sends no event
            await asyncio.sleep(0.02)
    sandbox.close()
