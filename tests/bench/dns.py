"""Benchmark of the DNS resolver: answers per second to clients in containers, and the resolver's CPU time per answer.

Real namespaces, sockets and redirection. The clients are another process, so what they cost is not the resolver's, but they share the
machine's cores. By itself: ``python -m tests.bench.dns``.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from covey.objects.assignment import NetworkEndpoint, VirtualService
from tests.bench.figures import Figure, Target, table
from tests.support.switched_hosts import Container, overlay, switched_hosts

SERVICES = 1_000
CONTAINERS = 10
SECONDS = 3
ROOT = Path(__file__).resolve().parents[2]


class Load(NamedTuple):
    """`per_second` answers, each of which cost the resolver `microseconds` of CPU time."""

    per_second: float
    microseconds: float


def dns(rounds: int) -> list[Figure]:
    """Repeated questions are those that a container asked before, new ones those that it did not."""
    found = [asyncio.run(_measure()) for _ in range(rounds)]
    repeated, new, spread = zip(*found, strict=True)
    return [
        _rate("repeated questions of one container", repeated, Target(10_000, at_least=True)),
        _cost("repeated questions of one container", repeated),
        _rate("new questions of one container", new, Target(10_000, at_least=True)),
        _cost("new questions of one container", new),
        _rate(f"questions of {CONTAINERS} containers", spread, Target(10_000, at_least=True)),
        _cost(f"questions of {CONTAINERS} containers", spread),
    ]


def _rate(name: str, loads: tuple[Load, ...], target: Target) -> Figure:
    return Figure(f"DNS: {name}, answers", "/s", tuple(load.per_second for load in loads), target)


def _cost(name: str, loads: tuple[Load, ...]) -> Figure:
    return Figure(f"DNS: {name}, CPU an answer", "µs", tuple(load.microseconds for load in loads))


async def _measure() -> tuple[Load, Load, Load]:
    with tempfile.TemporaryDirectory() as folder:
        async with switched_hosts(Path(folder), 1) as net:
            net.networks.append(overlay())
            net.services += [_service(number) for number in range(SERVICES)]
            net.endpoints |= {f"t{number}": _endpoint(number) for number in range(SERVICES)}
            await net.apply()
            clients = [await net.run_task(net.hosts[0], 200 + number) for number in range(CONTAINERS)]
            await net.apply()
            return await _ask(clients[:1], 100), await _ask(clients[:1], 1_000_000), await _ask(clients, 100)


async def _ask(clients: list[Container], names: int) -> Load:
    """Ask for SECONDS from each of the clients' namespaces. Fewer `names` than questions make repeated ones."""
    command = [sys.executable, "-m", "tests.bench.dns_load", str(SECONDS), str(names), str(SERVICES)]
    command += [client.namespace.path for client in clients]
    load = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert load.stdin is not None  # noqa: S101 (both are pipes)
    assert load.stdout is not None  # noqa: S101
    try:
        async with asyncio.timeout(SECONDS * 10):
            await load.stdout.readline()  # it is ready
            cpu = time.process_time()
            load.stdin.write(b"\n")
            answers, seconds = (await load.stdout.readline()).split()
            cpu = time.process_time() - cpu
    finally:
        if load.returncode is None:
            load.stdin.close()
            await load.wait()
    return Load(int(answers) / float(seconds), cpu / int(answers) * 1e6)


def _service(number: int) -> VirtualService:
    address = f"10.200.{number // 250}.{number % 250 + 2}"
    return VirtualService(
        id=f"s{number}/net1", network_id="net1", service_id=f"s{number}", name=f"service{number}", address=address
    )


def _endpoint(number: int) -> NetworkEndpoint:
    return NetworkEndpoint(
        id=f"t{number}/net1",
        network_id="net1",
        host="10.99.0.9",
        address=f"10.201.{number // 250}.{number % 250 + 2}",
        service_id=f"s{number}",
        task_name=f"service{number}.1",
        ready=True,
    )


if __name__ == "__main__":
    print(table(dns(3)))
