"""Cluster under measurement: lab hosts with an Engine API, of Covey or Docker Swarm."""

import base64
import contextlib
import http.client
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from covey.errors import CoveyError, DeadlineError
from node.lab import api, cluster
from node.lab.image import root_file_system
from node.lab.layout import Lab, LabHost

NETWORK = "benchnet"
IMAGE = "covey-bench:1"
COMMAND = ["/bin/sleep", "100000"]
SERVICE_LABEL = "com.docker.swarm.service.name"
STEP_SECONDS = 120.0
POLL_SECONDS = 4.0
POLL_PAUSE_SECONDS = 0.03
"""Polls use the CPU of the hosts; much shorter pauses would disturb the measurement."""
CHUNK_BYTES = 1 << 20


class Subject:
    """A cluster on a lab. Subclasses define how a dead host's engine is started."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.hosts = lab.hosts
        self.image = ""

    def start(self, host: LabHost) -> None:
        """Start a killed host."""
        cluster.start(self.lab, host)

    def kill(self, host: LabHost) -> None:
        """SIGKILL of everything on the host."""
        cluster.kill(host)

    def call(
        self, method: str, url: str, body: object = None, *, at: LabHost | None = None, seconds: float = 60.0
    ) -> Any:
        """Call the Engine API of a host; by default of the first."""
        return api.call((at or self.hosts[0]).socket, method, url, body, timeout_seconds=seconds)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = STEP_SECONDS) -> None:
        """Wait for a condition. A failed call counts as not yet true.

        Raises:
            DeadlineError: it did not become true in time.
        """

        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(CoveyError, OSError, http.client.HTTPException):
                if condition():
                    return
            time.sleep(POLL_PAUSE_SECONDS)
        raise DeadlineError(f"{what} took longer than {seconds:g} s")

    # --- set-up ---

    def prepare(self, image_bytes: int) -> None:
        """Put the image on every host by import, save and load, so that its ID is the same, and create the overlay network."""
        first, *others = self.hosts
        root, archive = self.lab.folder / "root.tar", self.lab.folder / "image.tar"
        root.write_bytes(root_file_system(image_bytes))
        name, tag = IMAGE.split(":")
        changes = quote(f"CMD {json.dumps(COMMAND)}")
        upload(first, f"/images/create?fromSrc=-&repo={name}&tag={tag}&changes={changes}", root)
        root.unlink()
        _download(first, f"/images/{quote(IMAGE, safe='')}/get", archive)
        for host in others:
            upload(host, "/images/load?quiet=1", archive)
        archive.unlink()
        ids = {self.call("GET", f"/images/{quote(IMAGE, safe='')}/json", at=host)["Id"] for host in self.hosts}
        if len(ids) != 1:
            raise CoveyError(f"image {IMAGE} has different ids on the hosts: {sorted(ids)}")
        self.image = ids.pop()
        self.create_network()

    def create_network(self) -> None:
        """Create the overlay network of the services."""
        pool = {"Driver": "default", "Config": [{"Subnet": "10.200.0.0/20"}]}
        self.call("POST", "/networks/create", {"Name": NETWORK, "Driver": "overlay", "Attachable": True, "IPAM": pool})

    # --- services ---

    def create_service(
        self, name: str, replicas: int, *, mode: str = "dnsrr", constraints: Sequence[str] = (), network: str = NETWORK
    ) -> str:
        """A service on an overlay network; its containers end at once when they are stopped. Returns its id."""
        spec = {
            "Name": name,
            "TaskTemplate": {
                "ContainerSpec": {"Image": self.image, "StopSignal": "SIGKILL", "StopGracePeriod": 10**9},
                "Placement": {"Constraints": list(constraints)},
                "Networks": [{"Target": network}],
            },
            "Mode": {"Replicated": {"Replicas": replicas}},
            "EndpointSpec": {"Mode": mode},
        }
        created: dict[str, str] = self.call("POST", "/services/create", spec)
        return created["ID"]

    def scale(self, service: str, replicas: int) -> None:
        found = self.call("GET", f"/services/{service}")
        spec = {**found["Spec"], "Mode": {"Replicated": {"Replicas": replicas}}}
        self.call("POST", f"/services/{service}/update?version={found['Version']['Index']}", spec)

    def running(self, service: str, *, at: LabHost | None = None) -> list[dict[str, Any]]:
        """Tasks of a service that run and have the desired state running."""
        wanted = _filters({"service": [service], "desired-state": ["running"]})
        tasks = self.call("GET", f"/tasks?filters={wanted}", at=at, seconds=POLL_SECONDS)
        return [task for task in tasks if task["Status"]["State"] == "running"]

    def wait_running(self, service: str, replicas: int) -> None:
        self.wait(lambda: len(self.running(service)) == replicas, f"{replicas} replicas of {service}")

    def remove_service(self, name: str) -> None:
        """Remove it and wait until no host has a container of it."""
        self.call("DELETE", f"/services/{name}")
        wanted = _filters({"label": [f"{SERVICE_LABEL}={name}"]})
        left = set(self.hosts)

        def gone() -> bool:
            for host in sorted(left, key=lambda host: host.number):
                if self.call("GET", f"/containers/json?all=1&filters={wanted}", at=host, seconds=POLL_SECONDS):
                    return False
                left.discard(host)
            return True

        self.wait(gone, f"the removal of the containers of {name}")

    # --- nodes ---

    def nodes(self, *, at: LabHost | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", "/nodes", at=at, seconds=POLL_SECONDS)
        return found

    def node_id(self, host: LabHost) -> str:
        found: str = next(node["ID"] for node in self.nodes() if node["Description"].get("Hostname") == host.name)
        return found

    def leader(self) -> LabHost:
        """The host whose manager leads."""
        nodes = self.nodes()
        name = next(n["Description"]["Hostname"] for n in nodes if n.get("ManagerStatus", {}).get("Leader"))
        return next(host for host in self.hosts if host.name == name)

    def managers(self) -> Sequence[LabHost]:
        return self.hosts[: self.lab.managers]

    def wait_whole(self) -> None:
        """Wait until every manager shows all nodes ready and all managers reachable."""

        def whole() -> bool:
            return all(cluster.all_ready(self.nodes(at=host), self.lab) for host in self.managers())

        self.wait(whole, "the whole cluster")


class Client:
    """API client with a persistent connection, like the SDKs."""

    def __init__(self, host: LabHost) -> None:
        self._connection = api.SocketConnection(host.socket, 60.0)

    def create_secret(self, name: str, data: bytes) -> str:
        body = json.dumps({"Name": name, "Data": base64.b64encode(data).decode()})
        self._connection.request("POST", "/secrets/create", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        decoded = json.loads(answer.read())
        if answer.status >= http.client.BAD_REQUEST:
            raise CoveyError(decoded["message"])
        created: str = decoded["ID"]
        return created

    def close(self) -> None:
        self._connection.close()


def unique_name(word: str) -> str:
    """Unique name with this prefix."""
    return f"{word}-{os.urandom(4).hex()}"


def _filters(wanted: dict[str, list[str]]) -> str:
    return quote(json.dumps(wanted))


def upload(host: LabHost, url: str, path: Path) -> None:
    """Send an archive to a host. Raises CoveyError if it is refused."""
    connection = api.SocketConnection(host.socket, STEP_SECONDS)
    try:
        with path.open("rb") as file:
            headers = {"Content-Type": "application/x-tar", "Content-Length": str(os.fstat(file.fileno()).st_size)}
            connection.request("POST", url, file, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
    finally:
        connection.close()
    if answer.status >= http.client.BAD_REQUEST or '"error"' in text:
        raise CoveyError(f"{host.name} did not load an image: {text.strip()}")


def _download(host: LabHost, url: str, path: Path) -> None:
    connection = api.SocketConnection(host.socket, STEP_SECONDS)
    try:
        connection.request("GET", url)
        answer = connection.getresponse()
        if answer.status >= http.client.BAD_REQUEST:
            raise CoveyError(f"{host.name} did not save an image: {answer.read().decode().strip()}")
        with path.open("wb") as file:
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
    finally:
        connection.close()
