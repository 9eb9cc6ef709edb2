"""Benchmark of TCP throughput: between hosts, between containers on an overlay, through a VIP, and on an encrypted overlay."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

from agent.network.plan.encryption import node_address
from covey.errors import CoveyError
from node.lab import host as machine
from node.lab.layout import LabHost
from tests.bench.figures import Figure, Target
from tests.bench.subject import NETWORK, Subject, unique_name

SECONDS = 3
PORT = 5201


def throughput(subject: Subject, rounds: int, *, virtual: bool = True) -> list[Figure]:
    """Rounds alternate underlay, overlay and VIP, so that a busy moment affects all of them."""
    server, client = subject.hosts[-2:]
    target, source = unique_name("iperf-server"), unique_name("iperf-client")
    for name, host in ((target, server), (source, client)):
        pin(subject, name, host, "vip" if virtual else "dnsrr")
    address, to = container_of(subject, server, target)
    _, inside = container_of(subject, client, source)
    paths = [("underlay", server.address, [], []), ("overlay", address, inside, to)]
    if virtual:
        paths.append(("virtual address", _virtual_address(subject, target), inside, to))
    measured: dict[str, list[float]] = {path[0]: [] for path in paths}
    for _ in range(rounds):
        for what, where, client_in, server_in in paths:
            with _server(server, server_in):
                measured[what].append(_gbit(client, client_in, where))
    for name in (target, source):
        subject.remove_service(name)
    swarm = {"underlay": "17.0 Gbit/s", "overlay": "10.6 Gbit/s"}
    figures = [
        Figure(f"TCP, {what}", "Gbit/s", tuple(values), swarm=swarm.get(what, ""), worst_is_least=True)
        for what, values in measured.items()
    ]
    target = Target(0.85, at_least=True) if virtual else None
    figures.append(_ratio("TCP, overlay / underlay", measured["overlay"], measured["underlay"], "0.62", target))
    if virtual:
        figures.append(
            _ratio("TCP, virtual address / direct", measured["virtual address"], measured["overlay"], "no IPVS")
        )
    return figures


def encryption(subject: Subject, rounds: int) -> list[Figure]:
    """An encrypted overlay beside the WireGuard tunnel that carries it, between the addresses of the hosts inside the tunnel."""
    server, client = subject.hosts[-2:]
    target, source, network = unique_name("iperf-server"), unique_name("iperf-client"), unique_name("sealed")
    driver = {"Name": network, "Driver": "overlay", "Options": {"encrypted": "true"}}
    subject.call("POST", "/networks/create", driver)
    for name, host in ((target, server), (source, client)):
        pin(subject, name, host, "dnsrr", network)
    address, to = container_of(subject, server, target)
    _, inside = container_of(subject, client, source)
    tunnel: list[float] = []
    overlay: list[float] = []
    for _ in range(rounds):
        for values, where, client_in, server_in in (
            (tunnel, node_address(subject.node_id(server)), [], []),
            (overlay, address, inside, to),
        ):
            with _server(server, server_in):
                values.append(_gbit(client, client_in, where))
    for name in (target, source):
        subject.remove_service(name)
    subject.call("DELETE", f"/networks/{network}")
    return [
        Figure("TCP, WireGuard tunnel", "Gbit/s", tuple(tunnel), worst_is_least=True),
        Figure("TCP, encrypted overlay", "Gbit/s", tuple(overlay), worst_is_least=True),
        _ratio("TCP, encrypted overlay / WireGuard tunnel", overlay, tunnel, "", Target(0.9, at_least=True)),
    ]


def _ratio(title: str, above: list[float], below: list[float], swarm: str, target: Target | None = None) -> Figure:
    values = tuple(a / b for a, b in zip(above, below, strict=True))
    return Figure(title, "", values, target, swarm=swarm, worst_is_least=True)


def pin(subject: Subject, name: str, host: LabHost, mode: str, network: str = NETWORK) -> None:
    """Create a service with one replica on that host."""
    subject.create_service(name, 1, mode=mode, constraints=[f"node.hostname=={host.name}"], network=network)
    subject.wait_running(name, 1)


def container_of(subject: Subject, host: LabHost, service: str) -> tuple[str, list[str]]:
    """Address of the service's only container, and the command that enters its network namespace."""
    wanted = json.dumps({"label": [f"com.docker.swarm.service.name={service}"]}).replace(" ", "")
    [found] = subject.call("GET", f"/containers/json?filters={wanted}", at=host)
    container = subject.call("GET", f"/containers/{found['Id']}/json", at=host)
    [task] = subject.running(service)
    address = task["NetworksAttachments"][0]["Addresses"][0].partition("/")[0]
    return address, ["nsenter", f"--net=/proc/{container['State']['Pid']}/ns/net"]


def _virtual_address(subject: Subject, service: str) -> str:
    addresses = subject.call("GET", f"/services/{service}")["Endpoint"]["VirtualIPs"]
    found: str = addresses[0]["Addr"].partition("/")[0]
    return found


@contextlib.contextmanager
def _server(host: LabHost, within: list[str]) -> Iterator[None]:
    """Run an iperf3 server for one client."""
    command = machine.command_inside(
        host, [*within, "iperf3", "--server", "--one-off", "--port", str(PORT), "--forceflush"]
    )
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        while "listening" not in (line := process.stdout.readline()):
            if not line:
                raise CoveyError(f"iperf3 did not start on {host.name}")
        yield
    finally:
        process.kill()
        process.communicate()


def _gbit(host: LabHost, within: list[str], address: str) -> float:
    command = ["iperf3", "--json", "--time", str(SECONDS), "--port", str(PORT), "--client", address]
    done = subprocess.run(
        machine.command_inside(host, [*within, *command]),
        capture_output=True,
        text=True,
        timeout=SECONDS + 20,
        check=False,
    )
    answer: dict[str, Any] = json.loads(done.stdout or "{}")
    if "error" in answer or done.returncode:
        raise CoveyError(f"iperf3 from {host.name} to {address} failed: {answer.get('error') or done.stderr.strip()}")
    return float(answer["end"]["sum_received"]["bits_per_second"]) / 1e9
