"""Benchmark of published ports and VIPs: what the way through another node, a port's translation and a virtual IP cost.

A client outside the cluster reaches a task through the task's own host and through a node without a task; a container by its own address and
by a published port. Each round takes the ways in turns, and the figures are ratios. By itself: ``python -m tests.bench.published_ports``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from covey.errors import CoveyError
from node.lab import cluster
from node.lab import host as machine
from node.lab.layout import Lab, LabHost
from tests.bench import connection_rate
from tests.bench.figures import Figure, Target, table
from tests.bench.subject import NETWORK, STEP_SECONDS, Subject

CONNECTIONS, TURNS, SECONDS = 250, 9, 3
RATE_PORT, IPERF_PORT = 7000, 5201
MESH_RATE, MESH_IPERF = 8080, 8081
HOST_IPERF = 8082
DIRECT = "10.123.0.0/24"
_SCRIPT = str(Path(connection_rate.__file__))


class Way(msgspec.Struct, frozen=True):
    """How a client reaches a server: the command that enters the client's namespace, and what it connects to."""

    inside: tuple[str, ...]
    address: str
    port: int


def published_ports(name: str, rounds: int) -> list[Figure]:
    lab = Lab(f"{name}-ports", 1, 2)
    with cluster.running(lab):
        subject = Subject(lab)
        subject.prepare(1_000)
        return _Ports(subject).measure(rounds)


class _Ports:
    """The services and containers of the benchmark: the task is on the last host, its client on the second."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._entry, self._client, self._host = subject.hosts
        self._outside = ("ip", "netns", "exec", subject.lab.switch)

    def measure(self, rounds: int) -> list[Figure]:
        task, task_address, virtual = self._service("web", self._host, published=True)
        client, _, _ = self._service("client", self._client, published=False)
        own, routed = self._containers()
        host, entry = self._host, self._entry
        rates = {
            "mesh, connections/s, through another node / own host, IPv4": (
                Way(self._outside, entry.address, MESH_RATE),
                Way(self._outside, host.address, MESH_RATE),
                0.8,
            ),
            "mesh, connections/s, through another node / own host, IPv6": (
                Way(self._outside, entry.address6, MESH_RATE),
                Way(self._outside, host.address6, MESH_RATE),
                0.8,
            ),
            "VIP, connections/s, virtual address / direct": (
                Way(client, virtual, RATE_PORT),
                Way(client, task_address, RATE_PORT),
                0.87,
            ),
        }
        flows = {
            "mesh, TCP, through another node / own host": (
                Way(self._outside, entry.address, MESH_IPERF),
                Way(self._outside, host.address, MESH_IPERF),
                task,
                task,
                0.55,
            ),
            "-p, TCP, published port / routed container": (
                Way(self._outside, host.address, HOST_IPERF),
                Way(self._outside, routed[1], IPERF_PORT),
                own,
                routed[0],
                0.95,
            ),
        }
        values: dict[str, list[float]] = {}
        with _serving([*task, sys.executable, _SCRIPT, "serve", str(RATE_PORT)]):
            for way, beside, _ in rates.values():
                self._wait(way)
                self._wait(beside)
            for _ in range(rounds):
                for title, (way, beside, _) in rates.items():
                    values.setdefault(title, []).append(_rates(way, beside))
        for _ in range(rounds):
            for title, (way, beside, server, other, _) in flows.items():
                values.setdefault(title, []).append(_gbit(way, server) / _gbit(beside, other))
        bounds = {title: spec[-1] for title, spec in (*rates.items(), *flows.items())}
        return [
            Figure(title, "", tuple(values[title]), Target(bound, at_least=True)) for title, bound in bounds.items()
        ]

    def _wait(self, way: Way) -> None:
        def answers() -> bool:
            _run([*way.inside, sys.executable, _SCRIPT, "ask", way.address, str(way.port), "1"])
            return True

        self._subject.wait(answers, f"{way.address}:{way.port}")

    def _service(self, name: str, host: LabHost, *, published: bool) -> tuple[tuple[str, ...], str, str]:
        """The command into the namespace of its only task, the task's address and the service's virtual one."""
        ports = [(RATE_PORT, MESH_RATE), (IPERF_PORT, MESH_IPERF)] if published else []
        spec = {
            "Name": name,
            "TaskTemplate": {
                "ContainerSpec": {"Image": self._subject.image, "StopSignal": "SIGKILL"},
                "Placement": {"Constraints": [f"node.hostname=={host.name}"]},
                "Networks": [{"Target": NETWORK}],
            },
            "EndpointSpec": {"Ports": [{"TargetPort": inner, "PublishedPort": outer} for inner, outer in ports]},
        }
        self._subject.call("POST", "/services/create", spec)
        self._subject.wait_running(name, 1)
        [task] = self._subject.running(name)
        network = self._subject.call("GET", f"/networks/{NETWORK}")["Id"]
        own = next(item for item in task["NetworksAttachments"] if item["Network"]["ID"] == network)
        container = task["Status"]["ContainerStatus"]["ContainerID"]
        virtual = self._subject.call("GET", f"/services/{name}")["Endpoint"]["VirtualIPs"]
        address = next(item["Addr"] for item in virtual if item["NetworkID"] == network)
        return self._inside(host, container), own["Addresses"][0].partition("/")[0], address.partition("/")[0]

    def _containers(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], str]]:
        """The command into a container with a published port, and that into one which clients reach by its address, with the address."""
        own = self._container("published", {f"{IPERF_PORT}/tcp": [{"HostPort": str(HOST_IPERF)}]}, "bridge")
        options = {"com.docker.network.bridge.gateway_mode_ipv4": "routed"}
        pool = {"Config": [{"Subnet": DIRECT}]}
        self._call("POST", "/networks/create", {"Name": "routed", "Driver": "bridge", "Options": options, "IPAM": pool})
        routed = self._container("routed", {f"{IPERF_PORT}/tcp": [{"HostPort": ""}]}, "routed")
        _run([*self._outside, "ip", "route", "replace", DIRECT, "via", self._host.address])
        address: str = routed["NetworkSettings"]["Networks"]["routed"]["IPAddress"]
        return self._inside(self._host, own["Id"]), (self._inside(self._host, routed["Id"]), address)

    def _container(self, name: str, bindings: dict[str, Any], network: str) -> dict[str, Any]:
        host_config = {"PortBindings": bindings, "NetworkMode": network}
        exposed: dict[str, Any] = {port: {} for port in bindings}
        body = {"Image": self._subject.image, "ExposedPorts": exposed, "HostConfig": host_config}
        made = self._call("POST", f"/containers/create?name={name}", body)["Id"]
        self._call("POST", f"/containers/{made}/start")
        found: dict[str, Any] = self._call("GET", f"/containers/{made}/json")
        return found

    def _call(self, method: str, url: str, body: object = None) -> Any:
        return self._subject.call(method, url, body, at=self._host)

    def _inside(self, host: LabHost, container: str) -> tuple[str, ...]:
        pid = self._subject.call("GET", f"/containers/{container}/json", at=host)["State"]["Pid"]
        return tuple(machine.command_inside(host, ["nsenter", f"--net=/proc/{pid}/ns/net"]))


@contextlib.contextmanager
def _serving(command: Sequence[str]) -> Iterator[None]:
    """Run a server until the end of the block. It has said that it listens."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        while "listening" not in (line := process.stdout.readline()):
            if not line:
                raise CoveyError(f"{command[-3:]} did not start")
        yield
    finally:
        # The program is a child of the one that enters the namespace, and keeps the pipe.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _rates(way: Way, beside: Way) -> float:
    """The ratio of the medians of short turns: what else the machine does falls on both."""
    turns = [(_rate(way), _rate(beside)) for _ in range(TURNS)]
    return statistics.median(turn[0] for turn in turns) / statistics.median(turn[1] for turn in turns)


def _rate(way: Way) -> float:
    return float(_run([*way.inside, sys.executable, _SCRIPT, "ask", way.address, str(way.port), str(CONNECTIONS)]))


def _gbit(way: Way, server: Sequence[str]) -> float:
    with _serving([*server, "iperf3", "--server", "--one-off", "--port", str(IPERF_PORT), "--forceflush"]):
        said = _run(
            [*way.inside, "iperf3", "--json", "--time", str(SECONDS), "--port", str(way.port), "--client", way.address]
        )
    return float(json.loads(said)["end"]["sum_received"]["bits_per_second"]) / 1e9


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=STEP_SECONDS, check=False)
    if done.returncode:
        raise CoveyError(f"{' '.join(command[-5:])} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout


if __name__ == "__main__":
    print(table(published_ports("bench", 3)))
