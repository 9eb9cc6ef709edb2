"""Routes of a host that come and go while the daemon runs, as the managers are told of them, on a real kernel."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent.network.host_facts import HostFacts
from agent.network.kernel_thread import KernelThread
from agent.network.netns import Namespace, anonymous_namespace
from agent.network.route_watch import RouteWatch
from covey.objects import HostRoute

pytestmark = pytest.mark.root
DEADLINE_SECONDS = 10
LAN = HostRoute(destination="192.0.2.0/24", device="uplink0")


def run(host: Namespace, *commands: str) -> None:
    for command in commands:
        host.run(lambda command=command: subprocess.run(command.split(), check=True, capture_output=True))


@asynccontextmanager
async def watched(host: Namespace) -> AsyncIterator[tuple[RouteWatch, asyncio.Queue[tuple[HostRoute, ...]]]]:
    thread, watch = KernelThread(), RouteWatch(pause_seconds=0.1)
    told: asyncio.Queue[tuple[HostRoute, ...]] = asyncio.Queue()
    watch.on_change = lambda: told.put_nowait(watch.current)
    spawned: list[asyncio.Task[None]] = []
    await watch.start(
        host, HostFacts(host, thread).routes, lambda work, name: spawned.append(asyncio.create_task(work, name=name))
    )
    try:
        yield watch, told
    finally:
        for task in spawned:
            task.cancel()
        watch.close()


async def test_a_route_of_the_host_is_told_when_it_comes_and_when_it_goes() -> None:
    """Seen as: a VPN that came up after the daemon did not keep networks of the cluster from its subnets."""
    host = anonymous_namespace()
    try:
        run(host, "ip link add uplink0 type veth peer name far", "ip addr add 192.0.2.1/24 dev uplink0")
        run(host, "ip link set far up", "ip link set uplink0 up")
        async with watched(host) as (watch, told):
            assert watch.current == (LAN,)
            vpn = HostRoute(destination="10.63.5.0/24", device="uplink0")
            # One of Covey's own, to a container, and one of others.
            run(host, "ip route add 10.99.0.0/24 via 192.0.2.9 protocol 192", "ip route add 10.63.5.0/24 via 192.0.2.9")
            async with asyncio.timeout(DEADLINE_SECONDS):
                assert vpn in await told.get()
            run(host, "ip route del 10.63.5.0/24")
            async with asyncio.timeout(DEADLINE_SECONDS):
                assert vpn not in await told.get()
            run(host, "ip -6 route add fd00:63::/64 dev uplink0")
            async with asyncio.timeout(DEADLINE_SECONDS):
                assert HostRoute(destination="fd00:63::/64", device="uplink0") in await told.get()
    finally:
        host.close()
