"""MTUs of containers on overlays, on a real kernel: no packet that the underlay must fragment, smaller MTUs of a host."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.network import links, netns
from agent.network.model import Attachment, NetworkChanges
from tests.support import built_links
from tests.support.switched_hosts import HostUnderTest, overlay, receive, switched_hosts

pytestmark = pytest.mark.root


def mtu_of(namespace: netns.Namespace, name: str = "eth0") -> int:
    def read(route: Any) -> int:
        return int(route.get_links(links.index_of(route, name))[0].get_attr("IFLA_MTU"))

    return links.run_in_namespace(namespace, "read the MTU", read)


def fragments(host: HostUnderTest) -> int:
    """Number of fragments that the host has made of too large packets."""
    lines = host.namespace.run(lambda: Path("/proc/thread-self/net/snmp").read_text()).splitlines()
    names, values = (line.split() for line in lines if line.startswith("Ip:"))
    return int(values[names.index("FragCreates")])


@pytest.mark.parametrize(("underlay", "wanted", "size"), [(1400, 0, 1350), (1500, 0, 1450), (1500, 1300, 1300)])
async def test_containers_never_send_packets_that_the_underlay_must_fragment(
    tmp_path: Path, underlay: int, wanted: int, size: int
) -> None:
    async with switched_hosts(tmp_path, 2, mtu=underlay) as net:
        net.networks.append(overlay(mtu=wanted))
        await net.apply()
        one, two = await net.run_task(net.hosts[0], 5), await net.run_task(net.hosts[1], 6)
        await net.apply()
        assert (mtu_of(one.namespace), mtu_of(two.namespace)) == (size, size)
        await net.serve(two, greeting="?")
        link = await one.connect("10.0.1.6")
        assert await receive(link) == b"?"
        much = b"x" * 100_000
        await asyncio.to_thread(link.sendall, much)
        received = 0
        async with asyncio.timeout(5):
            while received < len(much):
                received += len(await receive(link))
        link.close()
        assert [fragments(host) for host in net.hosts] == [0, 0]


async def test_a_network_with_a_larger_mtu_than_the_host_supports_fails_with_a_reason(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        too_large, other = overlay(mtu=1451), overlay("net2", vni=4098, name="other")
        [failure] = await net.hosts[0].driver.apply(NetworkChanges(networks=(too_large, other)))
        assert failure.network_id == "net1"
        assert (
            "network web requests an MTU of 1451, but eth0 of this host with an MTU of 1500 carries 1450"
            in failure.reason
        )
        assert await net.hosts[0].driver.apply(NetworkChanges(networks=(overlay(mtu=1450),))) == ()


async def test_adopted_containers_get_the_smaller_mtu_of_their_host(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 2) as net:
        net.networks.append(overlay())
        await net.apply()
        host = net.hosts[0]
        one, two = await net.run_task(host, 5), await net.run_task(net.hosts[1], 6)
        await net.apply()
        await net.serve(two, greeting="stay")
        link = await one.connect("10.0.1.6")
        assert await receive(link) == b"stay"
        await host.driver.close()
        links.run_in_namespace(host.namespace, "shrink", lambda route: built_links.ensure_mtu(route, "eth0", 1400))
        host.driver = host.new_driver()
        await host.driver.start()
        await host.driver.apply(NetworkChanges(tuple(net.networks), tuple(net.endpoints.values())))
        await host.driver.adopt(one.id, (Attachment("net1", "10.0.1.5/24", "eth0"),))
        await net.apply()
        assert mtu_of(one.namespace) == 1350
        link.send(b"same")
        assert await receive(link) == b"same"
        link.close()
