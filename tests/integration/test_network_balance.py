"""Connections through a VIP on a real kernel: how evenly they are spread, and how long an idle one lives."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from agent.network import netns
from agent.network.model import Attachment, NetworkChanges
from covey.objects.assignment import VirtualService
from tests.support.switched_hosts import Container, SwitchedHosts, overlay, receive, switched_hosts

pytestmark = pytest.mark.root
VIP = "10.0.1.100"
BACKENDS, CONNECTIONS = 7, 10_000
MOST = 0.05
"""Of the mean, by which a backend may have more or fewer connections."""


async def publish(net: SwitchedHosts, backends: int) -> tuple[list[Container], Container]:
    """The service `web` with a VIP and backends on all hosts in turns, and a client on the first host."""
    net.networks.append(overlay())
    net.services.append(
        VirtualService(id="id-web/net1", network_id="net1", service_id="id-web", name="web", address=VIP)
    )
    await net.apply()
    tasks = [
        await net.run_task(net.hosts[number % len(net.hosts)], 10 + number, service="web") for number in range(backends)
    ]
    client = await net.run_task(net.hosts[0], 50)
    await net.apply()
    return tasks, client


@contextmanager
def counting(tasks: list[Container]) -> Iterator[Counter[str]]:
    """Accept connections at each task's port 80, and count them by task."""
    counted: Counter[str] = Counter()
    listening = {
        task.id: task.namespace.run(lambda: socket.create_server(("0.0.0.0", 80), backlog=512)) for task in tasks
    }

    def accept(task_id: str, one: socket.socket) -> None:
        with suppress(OSError):
            while True:
                one.accept()[0].close()
                counted[task_id] += 1

    threads = [threading.Thread(target=accept, args=pair) for pair in listening.items()]
    for thread in threads:
        thread.start()
    try:
        yield counted
    finally:
        for one in listening.values():
            one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in threads:
            thread.join()


async def test_ten_thousand_connections_are_spread_evenly_over_backends_of_two_hosts(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 2) as net:
        tasks, client = await publish(net, BACKENDS)

        def connect() -> None:
            for _ in range(CONNECTIONS):
                with socket.create_connection((VIP, 80), timeout=10) as link:
                    link.recv(1)

        with counting(tasks) as counted:
            await client.run(connect)
        mean = CONNECTIONS / BACKENDS
        assert sum(counted.values()) == CONNECTIONS
        assert {task.id for task in tasks} == {
            each for each, count in counted.items() if abs(count - mean) <= MOST * mean
        }


def seconds_left(net: SwitchedHosts) -> int:
    """Until conntrack of the network's sandbox forgets the connection to the VIP."""
    with closing(netns.Namespace(str(net.hosts[0].folder / "netns/networks/net1"))) as sandbox:
        lines = sandbox.run(lambda: Path("/proc/thread-self/net/nf_conntrack").read_text()).splitlines()
    (line,) = (line for line in lines if f"dst={VIP}" in line and "ESTABLISHED" in line)
    return int(line.split()[4])


def limit(net: SwitchedHosts) -> int:
    """The kernel's own limit for idle connections there."""
    setting = Path("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established")
    with closing(netns.Namespace(str(net.hosts[0].folder / "netns/networks/net1"))) as sandbox:
        return int(sandbox.run(setting.read_text))


async def test_an_idle_connection_lives_as_long_as_conntracks_limit_whatever_else_changes(tmp_path: Path) -> None:
    """Docker's IPVS cuts it after 900 s."""
    async with switched_hosts(tmp_path, 2) as net:
        tasks, client = await publish(net, 3)
        for task in tasks:
            await net.serve(task, greeting=task.endpoint.address)
        link = await client.connect(VIP)
        held = (await receive(link)).decode()
        assert limit(net) >= 5 * 24 * 3600
        assert seconds_left(net) > limit(net) - 60
        # Another backend goes, so connections are looked through; a new daemon looks through all of them.
        gone = next(task for task in tasks if task.endpoint.address != held)
        del net.endpoints[gone.endpoint.task_id]
        await net.apply()
        await restart(net, [client, *(task for task in tasks if task.host is net.hosts[0])])
        assert seconds_left(net) > limit(net) - 60
        await asyncio.to_thread(link.sendall, b"still there?")
        assert await receive(link) == b"still there?"
        link.close()


async def restart(net: SwitchedHosts, containers: list[Container]) -> None:
    """End the first host's daemon and start another."""
    host = net.hosts[0]
    await host.driver.close()
    host.driver = host.new_driver()
    await host.driver.start()
    changes = NetworkChanges(tuple(net.networks), tuple(net.endpoints.values()), tuple(net.services))
    assert await host.driver.apply(changes) == ()
    for one in containers:
        await host.driver.adopt(one.id, [Attachment("net1", f"{one.endpoint.address}/24", "eth0")])
    await host.driver.clean()
