"""Overlay networks on a real kernel: hosts in namespaces, real VXLAN and nftables."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from pathlib import Path

import msgspec
import pytest

from agent.network import links, netns
from agent.network.model import Attachment, NetworkChanges, TunnelEndpoint
from covey.errors import NotFoundError
from covey.mac_address import derived_mac
from covey.objects.assignment import NetworkEndpoint, VirtualService
from tests.support import built_links
from tests.support.switched_hosts import SwitchedHosts, overlay, receive, switched_hosts

pytestmark = pytest.mark.root
VIP = "10.0.1.100"


def web(net: SwitchedHosts, vip: str = VIP) -> None:
    net.services.append(
        VirtualService(id="id-web/net1", network_id="net1", service_id="id-web", name="web", address=vip)
    )


async def send_until_reset(link: socket.socket) -> None:
    async with asyncio.timeout(5):
        while True:
            link.send(b"anyone?")
            await receive(link)


async def test_containers_on_two_hosts_reach_each_other(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 2) as net:
        net.networks.append(overlay())
        await net.apply()
        one, two = await net.run_task(net.hosts[0], 5), await net.run_task(net.hosts[1], 6)
        await net.apply()
        await net.serve(two)
        assert await one.fetch("10.0.1.6") == "10.0.1.6"


async def test_a_frame_with_a_foreign_mac_address_is_not_learnt(tmp_path: Path) -> None:
    """The frame goes from one host to the other. With learning on, a bridge or VXLAN device would store its sender."""
    foreign_mac = "02:42:de:ad:be:ef"
    async with switched_hosts(tmp_path, 2) as net:
        net.networks.append(overlay())
        await net.apply()
        one, two = await net.run_task(net.hosts[0], 5), await net.run_task(net.hosts[1], 6)
        await net.apply()
        receiver = await one.run(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)))
        sender = await two.run(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        receiver.settimeout(5)
        frame = bytes.fromhex("02420a000105" + foreign_mac.replace(":", "") + "88b5") + bytes(50)
        await two.run(lambda: sender.bind(("eth0", 0)))
        sender.send(frame)
        assert (await one.run(lambda: receiver.recv(2000)))[:14] == frame[:14]
        for host in net.hosts:
            sandbox = netns.Namespace(str(host.folder / "netns/networks/net1"))
            known = links.run_in_namespace(
                sandbox, "read", lambda route: [e.get_attr("NDA_LLADDR") for e in route.get_neighbours(7)]
            )
            sandbox.close()
            assert "02:42:0a:00:01:05" in known
            assert foreign_mac not in known
        receiver.close()
        sender.close()


async def test_a_vip_distributes_connections_over_tasks_on_three_hosts(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 3) as net:
        net.networks.append(overlay())
        web(net)
        await net.apply()
        tasks = [await net.run_task(host, 10 + i, service="web") for i, host in enumerate(net.hosts)]
        client = await net.run_task(net.hosts[0], 50)
        await net.apply()
        for task in tasks:
            await net.serve(task)
        counted = await net.count_answers(client, VIP, 60)
        assert counted == {"10.0.1.10": 20, "10.0.1.11": 20, "10.0.1.12": 20}
        hairpin = await net.count_answers(tasks[0], VIP, 12)
        assert set(hairpin) == {"10.0.1.10", "10.0.1.11", "10.0.1.12"}


async def test_a_vip_without_ready_tasks_refuses_connections_at_once(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        net.networks.append(overlay())
        web(net)
        await net.apply()
        await net.run_task(net.hosts[0], 10, service="web", ready=False)
        client = await net.run_task(net.hosts[0], 50)
        await net.apply()
        began = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            await client.fetch(VIP)
        assert time.monotonic() - began < 3

        def query_over_udp() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
                link.settimeout(2)
                link.connect((VIP, 53))
                link.send(b"x")
                link.recv(10)

        with pytest.raises((ConnectionRefusedError, PermissionError)):  # the send itself may fail
            await client.run(query_over_udp)


async def test_a_draining_task_keeps_its_connections_and_a_removed_one_loses_them(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 2) as net:
        net.networks.append(overlay())
        web(net)
        await net.apply()
        old = await net.run_task(net.hosts[1], 10, service="web")
        client = await net.run_task(net.hosts[0], 50)
        await net.apply()
        await net.serve(old, greeting="old")
        link = await client.connect(VIP)
        assert await receive(link) == b"old"
        new = await net.run_task(net.hosts[1], 11, service="web")
        net.endpoints["task10"] = msgspec.structs.replace(old.endpoint, ready=False)
        await net.apply()
        await net.serve(new)
        assert await net.count_answers(client, VIP, 4) == {"10.0.1.11": 4}
        link.send(b"still here")
        assert await receive(link) == b"still here"
        for host in net.hosts:
            await host.driver.apply(NetworkChanges(removed_endpoints=("task10/net1",)))
        with pytest.raises(ConnectionResetError):
            await send_until_reset(link)
        link.close()


async def test_a_udp_flow_moves_to_another_task_when_its_task_is_not_ready(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        net.networks.append(overlay())
        web(net)
        await net.apply()
        tasks = {last: await net.run_task(net.hosts[0], last, service="web") for last in (10, 11)}
        client = await net.run_task(net.hosts[0], 50)
        await net.apply()
        servers = {}
        for last, task in tasks.items():
            servers[last] = await task.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            servers[last].bind(("0.0.0.0", 9000))
            servers[last].settimeout(3)
        link = await client.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        link.connect((VIP, 9000))

        def receiver() -> int:
            readable, _, _ = select.select(list(servers.values()), [], [], 3)
            assert readable, "the datagram reached no task"
            readable[0].recv(10)
            return next(last for last, server in servers.items() if server is readable[0])

        link.send(b"a")
        first = await client.run(receiver)
        link.send(b"b")
        assert await client.run(receiver) == first
        endpoint = tasks[first].endpoint
        net.endpoints[endpoint.task_id] = msgspec.structs.replace(endpoint, ready=False)
        await net.apply()
        async with asyncio.timeout(5):
            link.send(b"c")
            while await client.run(receiver) == first:
                link.send(b"c")
        for item in (link, *servers.values()):
            item.close()


async def test_a_moved_endpoint_is_reached_on_its_new_host(tmp_path: Path) -> None:
    """IP and MAC address stay the same. Old FDB entries must not misdirect the frames."""
    async with switched_hosts(tmp_path, 3) as net:
        net.networks.append(overlay())
        await net.apply()
        client = await net.run_task(net.hosts[0], 50)
        before = await net.run_task(net.hosts[1], 5)
        await net.apply()
        await net.serve(before)
        assert await client.fetch("10.0.1.5") == "10.0.1.5"
        for place in (net.hosts[2], net.hosts[0]):
            await before.host.driver.destroy_sandbox(before.id)
            before = await net.run_task(place, 5)
            await net.apply()
            await net.serve(before, greeting=place.name)
            assert await client.fetch("10.0.1.5") == place.name


async def test_a_host_that_changes_its_address_is_reached_again_and_keeps_its_containers(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 2) as net:
        net.networks.append(overlay())
        await net.apply()
        one, two = await net.run_task(net.hosts[0], 5), await net.run_task(net.hosts[1], 6)
        await net.apply()
        await net.serve(two)
        assert await one.fetch("10.0.1.6") == "10.0.1.6"
        links.run_in_namespace(
            net.hosts[1].namespace,
            "move",
            lambda route: built_links.ensure_address(route, links.index_of(route, "eth0"), "10.99.0.22/24"),
        )
        await net.hosts[1].driver.set_host_address("10.99.0.22")
        net.endpoints["task6"] = msgspec.structs.replace(net.endpoints["task6"], host="10.99.0.22")
        await net.apply()
        assert await one.fetch("10.0.1.6") == "10.0.1.6"
        sandbox = netns.Namespace(str(net.hosts[0].folder / "netns/networks/net1"))
        seen = links.run_in_namespace(
            sandbox, "read", lambda route: {e.get_attr("NDA_DST") for e in route.get_neighbours(7)}
        )
        sandbox.close()
        assert "10.99.0.22" in seen
        assert "10.99.0.2" not in seen


async def test_a_host_outside_a_cluster_refuses_networks(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        await net.hosts[0].driver.set_host_address("")
        (failure,) = await net.hosts[0].driver.apply(NetworkChanges(networks=(overlay(),)))
        assert failure.reason.startswith("network web needs a cluster address of this host")


async def test_a_removed_network_leaves_no_namespace_and_its_vxlan_id_is_free_at_once(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 2) as net:
        for turn in range(5):
            net.networks = [overlay(f"net{turn}")]
            net.endpoints.clear()
            await net.apply()
            one = await net.run_task(net.hosts[0], 5, network=f"net{turn}")
            two = await net.run_task(net.hosts[1], 6, network=f"net{turn}")
            await net.apply()
            await net.serve(two)
            assert await one.fetch("10.0.1.6") == "10.0.1.6"
            for container in (one, two):
                await container.host.driver.destroy_sandbox(container.id)
            net.networks, net.endpoints = [], {}
            await net.apply()
            for host in net.hosts:
                assert list((host.folder / "netns/networks").iterdir()) == []
                assert list((host.folder / "netns/containers").iterdir()) == []


async def test_a_removed_network_in_use_is_deleted_with_its_last_container(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        net.networks.append(overlay())
        await net.apply()
        container = await net.run_task(net.hosts[0], 5)
        driver = net.hosts[0].driver
        await driver.apply(NetworkChanges(removed_networks=("net1",)))
        assert (net.hosts[0].folder / "netns/networks/net1").exists()
        with pytest.raises(NotFoundError, match="net1 is not known"):
            await driver.attach(container.id, Attachment("net1", "10.0.1.9/24", "eth1"))
        await driver.destroy_sandbox(container.id)
        assert not (net.hosts[0].folder / "netns/networks/net1").exists()


async def test_a_restarted_driver_adopts_running_containers_and_cleans_the_rest(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 2) as net:
        net.networks += [overlay(), overlay("net2", vni=4098, name="old", subnet="10.0.2.0/24")]
        web(net)
        await net.apply()
        host = net.hosts[0]
        task = await net.run_task(net.hosts[1], 10, service="web")
        client = await net.run_task(host, 50)
        orphan = await net.run_task(host, 51)
        await net.apply()
        await net.serve(task, greeting="hello")
        link = await client.connect(VIP)
        assert await receive(link) == b"hello"

        await host.driver.close()
        link.send(b"while it is dead")
        assert await receive(link) == b"while it is dead"
        host.driver = host.new_driver()
        await host.driver.start()
        assert (
            await host.driver.apply(
                NetworkChanges(tuple(net.networks), tuple(net.endpoints.values()), tuple(net.services))
            )
            == ()
        )
        assert {path.name for path in (host.folder / "netns/containers").iterdir()} == {client.id, orphan.id}
        await host.driver.adopt(client.id, (Attachment("net1", "10.0.1.50/24", "eth0"),))
        link.send(b"adopted")
        assert await receive(link) == b"adopted"
        assert await client.fetch(VIP) == "hello"
        assert await client.addresses("web") == [VIP]

        net.networks = net.networks[:1]
        del net.endpoints["task51"]
        await net.apply()
        assert await host.driver.clean() == (f"container {orphan.id}",)
        assert [path.name for path in (host.folder / "netns/containers").iterdir()] == [client.id]
        assert [path.name for path in (host.folder / "netns/networks").iterdir()] == ["net1"]
        link.close()


async def test_clean_keeps_a_failed_network_with_containers_and_the_next_attempt_repairs_it(
    tmp_path: Path,
) -> None:
    """1. The daemon crashes. 2. Another device takes the VXLAN ID of its network. 3. The next daemon adopts the container and cleans up."""
    async with switched_hosts(tmp_path, 2) as net:
        net.networks.append(overlay())
        await net.apply()
        host = net.hosts[0]
        one, near = await net.run_task(host, 5), await net.run_task(host, 7)
        far = await net.run_task(net.hosts[1], 6)
        await net.apply()
        for container in (near, far):
            await net.serve(container)
        await host.driver.close()
        sandbox = netns.Namespace(str(host.folder / "netns/networks/net1"))
        links.run_in_namespace(sandbox, "lose the tunnel", lambda route: links.delete_link(route, "vxlan0"))
        links.run_in_namespace(
            host.namespace,
            "take the VXLAN id",
            lambda route: built_links.add_vxlan(
                route, "thief", host.namespace, vni=4097, local=TunnelEndpoint(host.address), mtu=1450
            ),
        )
        host.driver = host.new_driver()
        await host.driver.start()
        state = NetworkChanges(tuple(net.networks), tuple(net.endpoints.values()))
        assert [failure.network_id for failure in await host.driver.apply(state)] == ["net1"]
        for container in (one, near):
            await host.driver.adopt(container.id, (Attachment("net1", f"{container.endpoint.address}/24", "eth0"),))
        assert await host.driver.clean() == ()
        assert await one.fetch("10.0.1.7") == "10.0.1.7"
        links.run_in_namespace(host.namespace, "give it back", lambda route: links.delete_link(route, "thief"))
        assert await host.driver.apply(NetworkChanges()) == ()
        assert await one.fetch("10.0.1.6") == "10.0.1.6"
        sandbox.close()


async def test_a_vxlan_device_whose_replacement_failed_is_repaired_by_the_next_attempt(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 2) as net:
        net.networks.append(overlay())
        await net.apply()
        one, two = await net.run_task(net.hosts[0], 5), await net.run_task(net.hosts[1], 6)
        await net.apply()
        await net.serve(two)
        host = net.hosts[0]
        links.run_in_namespace(
            host.namespace,
            "take the next VXLAN id",
            lambda route: built_links.add_vxlan(
                route, "thief", host.namespace, vni=4098, local=TunnelEndpoint(host.address), mtu=1450
            ),
        )
        net.networks[0] = overlay(vni=4098)
        for _ in range(2):
            failures = await host.driver.apply(NetworkChanges(networks=tuple(net.networks)))
            assert ["4098 is in use" in failure.reason for failure in failures] == [True]
        links.run_in_namespace(host.namespace, "give it back", lambda route: links.delete_link(route, "thief"))
        await net.apply()
        assert await one.fetch("10.0.1.6") == "10.0.1.6"


async def test_an_unknown_network_is_deleted_with_its_last_container(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        net.networks.append(overlay())
        await net.apply()
        host = net.hosts[0]
        container = await net.run_task(host, 5)
        await host.driver.close()
        host.driver = host.new_driver()
        await host.driver.start()
        await host.driver.adopt(container.id, (Attachment("net1", "10.0.1.5/24", "eth0"),))
        assert await host.driver.clean() == ()
        await host.driver.destroy_sandbox(container.id)
        assert list((host.folder / "netns/networks").iterdir()) == []


async def test_repeating_every_driver_call_changes_nothing(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 2) as net:
        net.networks.append(overlay())
        await net.apply()
        one, two = await net.run_task(net.hosts[0], 5), await net.run_task(net.hosts[1], 6)
        await net.apply()
        await net.serve(two, greeting="stay")
        link = await one.connect("10.0.1.6")
        assert await receive(link) == b"stay"
        driver = net.hosts[0].driver
        await driver.create_sandbox(one.id)
        await driver.apply(NetworkChanges(networks=(overlay(),)))
        await driver.attach(one.id, Attachment("net1", "10.0.1.5/24", "eth0"))
        await net.apply()
        link.send(b"same")
        assert await receive(link) == b"same"
        await driver.destroy_sandbox(one.id)
        await driver.destroy_sandbox(one.id)
        await driver.apply(NetworkChanges(removed_networks=("nobody-knows-it",)))
        link.close()


async def test_a_container_is_not_reached_from_another_network(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        net.networks += [overlay(), overlay("net2", vni=4098, name="other", subnet="10.0.2.0/24")]
        await net.apply()
        one = await net.run_task(net.hosts[0], 5)
        two = await net.run_task(net.hosts[0], 6, network="net2")
        await net.apply()
        await net.serve(two)
        with pytest.raises(OSError, match="unreachable"):
            await one.fetch("10.0.2.6")


async def test_outbound_traffic_is_masqueraded_and_containers_are_isolated(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        net.networks.append(overlay())
        await net.apply()
        one, two = await net.run_task(net.hosts[0], 5), await net.run_task(net.hosts[0], 6)
        host, driver = net.hosts[0], net.hosts[0].driver
        await host.connect(one.id, "docker_gwbridge", "eth1")
        address = (await host.connect(two.id, "docker_gwbridge", "eth1")).ip
        outside = net.switch.run(lambda: socket.create_server(("10.99.0.254", 8000)))
        link = await one.connect("10.99.0.254", 8000)
        peer, seen = outside.accept()
        assert seen[0] == net.hosts[0].address
        for item in (link, peer, outside):
            item.close()
        await net.serve(two)
        with pytest.raises(OSError):
            await one.fetch(address)
        plain = [f"plain{i}" for i in range(2)]
        paths = [await driver.create_sandbox(name) for name in plain]
        ips = [(await host.connect(name, "bridge", "eth0")).ip for name in plain]
        spaces = [netns.Namespace(path) for path in paths]
        server = spaces[1].run(lambda: socket.create_server((ips[1], 80)))
        spaces[0].run(lambda: socket.create_connection((ips[1], 80), timeout=3)).close()
        server.close()
        for space in spaces:
            space.close()


async def test_a_thousand_fdb_entries_are_programmed_and_removed(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        driver = net.hosts[0].driver
        network = overlay(subnet="10.7.0.0/16")
        many = tuple(
            NetworkEndpoint(
                id=f"t{i}/net1",
                network_id="net1",
                host=f"10.99.1.{i % 200 + 1}",
                address=f"10.7.{i // 250 + 1}.{i % 250 + 1}",
            )
            for i in range(1000)
        )
        assert await driver.apply(NetworkChanges(networks=(network,), endpoints=many)) == ()
        sandbox = netns.Namespace(str(net.hosts[0].folder / "netns/networks/net1"))

        def hosts_by_mac() -> dict[str, str]:
            entries = links.run_in_namespace(sandbox, "read", lambda route: route.get_neighbours(7))
            return {
                each.get_attr("NDA_LLADDR"): each.get_attr("NDA_DST") for each in entries if each.get_attr("NDA_DST")
            }

        assert hosts_by_mac() == {derived_mac(endpoint.address): endpoint.host for endpoint in many}
        assert await driver.reconciler.verify() == ()
        assert await driver.apply(NetworkChanges(removed_endpoints=tuple(endpoint.id for endpoint in many))) == ()
        assert hosts_by_mac() == {}
        sandbox.close()
