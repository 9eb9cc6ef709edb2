"""Benchmark of VIPs: 1,000 services of ten backends on one network of a host, one endpoint's change, and where first connections go.

A host in a namespace of its own, with the real driver. By itself: ``python -m tests.bench.vips``.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec

from agent.network.model import Attachment, NetworkChanges
from agent.network.netns import Namespace
from covey.objects.assignment import NetworkEndpoint, VirtualService
from tests.bench.figures import Figure, Target, table
from tests.support.switched_hosts import Container, SwitchedHosts, overlay, switched_hosts

SERVICES, BACKENDS, CHANGES, CLIENTS = 1_000, 10, 20, 100
_VIP = "10.200.255.1"

Results = dict[str, list[float]]


def vips(rounds: int) -> list[Figure]:
    results: Results = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(_measure(Path(folder), results))
    return [
        _figure(results, "VIPs: 1,000 services of 10 backends, programmed", "s", Target(0.3)),
        _figure(results, "VIPs: 1,000 services of 10 backends, kernel memory", "MiB", Target(10)),
        _figure(results, "VIPs: one endpoint's change, CPU", "ms", Target(5)),
        _figure(results, "VIPs: one endpoint's change, until it is applied", "ms"),
        _figure(results, "VIPs: a container more, attached", "ms", Target(20)),
        _figure(results, "VIPs: first connections of 100 containers, the busiest of 10 tasks", "%", Target(20)),
    ]


def _figure(results: Results, name: str, unit: str, target: Target | None = None) -> Figure:
    return Figure(name, unit, tuple(results[name]), target)


async def _measure(folder: Path, results: Results) -> None:
    async with switched_hosts(folder, 1) as net:
        net.networks.append(overlay(subnet="10.0.0.0/8"))
        endpoints = tuple(_endpoint(service, backend) for service in range(SERVICES) for backend in range(BACKENDS))
        services = tuple(_service(number) for number in range(SERVICES))
        driver = net.hosts[0].driver

        def record(name: str, value: float) -> None:
            results.setdefault(f"VIPs: {name}", []).append(value)

        await driver.apply(NetworkChanges(tuple(net.networks), endpoints))
        memory, began = _slab(), time.perf_counter()
        await driver.apply(NetworkChanges(services=services))
        record("1,000 services of 10 backends, programmed", time.perf_counter() - began)
        record("1,000 services of 10 backends, kernel memory", (_slab() - memory) / 1024)
        began, used = time.perf_counter(), time.process_time()
        for number in range(CHANGES):
            changed = msgspec.structs.replace(endpoints[number], ready=False)
            await driver.apply(NetworkChanges(endpoints=(changed,)))
        record("one endpoint's change, CPU", (time.process_time() - used) * 1e3 / CHANGES)
        record("one endpoint's change, until it is applied", (time.perf_counter() - began) * 1e3 / CHANGES)
        await _first_connections(net, results)


async def _first_connections(net: SwitchedHosts, results: Results) -> None:
    host = net.hosts[0]
    for number in range(BACKENDS):
        endpoint = NetworkEndpoint(
            id=f"web{number}/net1",
            task_id=f"web{number}",
            network_id="net1",
            host=host.address,
            address=f"10.0.1.{number + 1}",
            service_id="id-web",
            ready=True,
        )
        net.endpoints[endpoint.task_id] = endpoint
        path = await host.driver.create_sandbox(endpoint.task_id)
        await host.driver.attach(endpoint.task_id, Attachment("net1", f"{endpoint.address}/8", "eth0"))
        await net.serve(Container(host, endpoint.task_id, endpoint, path))
    net.services.append(
        VirtualService(id="id-web/net1", network_id="net1", service_id="id-web", name="web", address=_VIP)
    )
    await net.apply()
    counted: Counter[str] = Counter()
    attached: list[float] = []
    for number in range(CLIENTS):
        path = await host.driver.create_sandbox(f"client{number}")
        began = time.perf_counter()
        await host.driver.attach(f"client{number}", Attachment("net1", f"10.0.2.{number + 1}/8", "eth0"))
        attached.append((time.perf_counter() - began) * 1e3)
        counted[await asyncio.to_thread(_ask, path)] += 1
    results.setdefault("VIPs: a container more, attached", []).append(sum(attached[-10:]) / 10)
    name = "VIPs: first connections of 100 containers, the busiest of 10 tasks"
    results.setdefault(name, []).append(100 * max(counted.values()) / CLIENTS)


def _ask(path: str) -> str:
    namespace = Namespace(path)
    try:
        with namespace.run(lambda: socket.create_connection((_VIP, 80), timeout=5)) as link:
            return link.recv(100).decode()
    finally:
        namespace.close()


def _endpoint(service: int, backend: int) -> NetworkEndpoint:
    return NetworkEndpoint(
        id=f"t{service}x{backend}/net1",
        network_id="net1",
        host="10.99.0.9",
        address=f"10.{backend + 1}.{service // 250}.{service % 250 + 2}",
        service_id=f"s{service}",
        service_name=f"n{service}",
        task_name=f"n{service}.{backend}",
        ready=True,
    )


def _service(number: int) -> VirtualService:
    address = f"10.200.{number // 250}.{number % 250 + 2}"
    return VirtualService(
        id=f"s{number}/net1", network_id="net1", service_id=f"s{number}", name=f"n{number}", address=address
    )


def _slab() -> int:
    """Kernel memory that cannot be reclaimed, in KiB."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("SUnreclaim:", "Percpu:")))


if __name__ == "__main__":
    print(table(vips(1)))
