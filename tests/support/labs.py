"""Labs for tests: a cluster of real hosts, used through the real docker client.

Called by ``tests/cluster`` and ``tests/e2e``. A lab's name ends with the PID of its test session, so that sessions do not collide. The next
session removes what a killed one left. Waits are for conditions; each has a deadline with room for a busy machine.
"""

import contextlib
import http.client
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from node.lab import api, cluster, network
from node.lab import host as machine
from node.lab.image import root_file_system
from node.lab.layout import CGROUP_ROOT, LAB_ROOT, Lab, LabHost

IMAGE = "covey-test:1"
OTHER_IMAGE = "covey-test:2"
SLEEP = ("sleep", "1000000")
WEB = ("httpd", "-f", "-p", "80", "-h", "/www")
SECONDS = 40.0
CLI_SECONDS = 60.0
LOG_LINES = 40
PYTHON_BIN = Path(sys.executable).parent
RUNNING_LABS: dict[str, "LabCluster"] = {}
T = TypeVar("T")


class CommandResult(msgspec.Struct, frozen=True):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def wait(probe: Callable[[], T], what: str, seconds: float = SECONDS) -> T:
    """First true result of the probe. Raises AssertionError with ``what`` and the last result after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s; last result {answer!r}")
        time.sleep(0.05)


def run(command: Sequence[str | Path], *, check: int | None = 0, stdin: bytes = b"", **options: Any) -> CommandResult:
    """Run a command. Raises AssertionError with its output if the exit code is not ``check``."""
    options.setdefault("timeout", CLI_SECONDS)
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, **options)
    ran = CommandResult(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
    if check is not None:
        assert ran.code == check, f"{' '.join(map(str, command))} ended with {ran.code}:\n{ran.out}{ran.err}"
    return ran


@contextlib.contextmanager
def serving(command: Sequence[str | Path]) -> Iterator[None]:
    """Run a program that prints ``serves`` when it is ready and exits when its stdin is closed."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            assert process.stdout.readline() == b"serves\n", command
            yield
        finally:
            process.stdin.close()
            process.wait(10)


@contextlib.contextmanager
def conversation(command: Sequence[str | Path]) -> Iterator[Callable[[str], str]]:
    """Run a program that answers each line of its input with a line. Yields the function that asks."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        source, sink = process.stdout, process.stdin

        def ask(line: str) -> str:
            sink.write(f"{line}\n")
            return source.readline().strip()

        try:
            yield ask
        finally:
            process.stdin.close()
            process.wait(10)


def unique(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(3)}"


def manager_pid(host: LabHost) -> int:
    """PID of the host's manager process in the root PID namespace."""
    space = Path(f"/proc/{machine.init_pid(host)}/ns/pid").readlink()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"manager.main" in (process / "cmdline").read_bytes() and (process / "ns/pid").readlink() == space:
                return int(process.name)
    raise AssertionError(f"{host.name} runs no manager")


class LabCluster:
    """A lab as its users see it. ``on`` is the host to use; by default the first running one."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.hosts = lab.hosts
        self.managers = lab.hosts[: lab.managers]
        self.workers = lab.hosts[lab.managers :]

    def __getitem__(self, number: int) -> LabHost:
        """Host by the number in its name, from 1."""
        return self.hosts[number - 1]

    # Commands

    def environment(self, on: LabHost | None = None) -> dict[str, str]:
        host = on or self.running_hosts()[0]
        # without configuration and credentials of the user who runs the tests
        return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **machine.client_environment(host)}

    def docker(
        self, *arguments: str, on: LabHost | None = None, check: int | None = 0, stdin: bytes = b"", **options: Any
    ) -> CommandResult:
        """Run the docker client against a host of the lab."""
        return run(["docker", *arguments], check=check, stdin=stdin, env=self.environment(on), **options)

    def inside(self, host: LabHost, *command: str, **options: Any) -> CommandResult:
        """Run a command in the namespaces of a host."""
        return run(machine.command_inside(host, command), **options)

    def outside(self, *command: str, **options: Any) -> CommandResult:
        """Run a command outside the cluster: on the switch that joins the hosts, at 192.168.77.254 and fd00:77::fe."""
        return run(["ip", "netns", "exec", self.lab.switch, *command], **options)

    def serving(self, host: LabHost, *command: str) -> contextlib.AbstractContextManager[None]:
        """Run ``serving`` inside a host."""
        return serving(machine.command_inside(host, command))

    def nameserver(self) -> contextlib.AbstractContextManager[None]:
        """Run a DNS server at the address in the hosts' resolv.conf, so that unknown names get NXDOMAIN at once."""
        command = [PYTHON_BIN / "python", Path(__file__).with_name("nameserver.py"), "192.168.77.254"]
        return serving(["nsenter", f"--net=/run/netns/{self.lab.switch}", "--", *command])

    def json(self, *arguments: str, on: LabHost | None = None) -> Any:
        """Decoded JSON output of a docker command."""
        return json.loads(self.docker(*arguments, on=on).out)

    # API requests

    def request(
        self, method: str, url: str, body: object = None, *, on: LabHost | None = None, raw: bytes | None = None
    ) -> tuple[int, Any]:
        """Status and decoded answer of the Engine API."""
        connection = api.SocketConnection((on or self.running_hosts()[0]).socket, CLI_SECONDS)
        try:
            data = raw if raw is not None else None if body is None else json.dumps(body).encode()
            connection.request(method, url, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        return answer.status, json.loads(text) if text.strip().startswith(("{", "[", '"')) else text

    def get(self, url: str, *, on: LabHost | None = None, **filters: Sequence[str]) -> Any:
        """Decoded answer of a GET request that must succeed."""
        if filters:
            wanted = {key.replace("_", "-"): list(values) for key, values in filters.items()}
            url += "?filters=" + urllib.parse.quote(json.dumps(wanted))
        status, answer = self.request("GET", url, on=on)
        assert status == http.client.OK, (url, status, answer)
        return answer

    # Hosts and nodes

    def running_hosts(self) -> list[LabHost]:
        """Hosts whose daemon runs and has a socket."""
        return [host for host in self.hosts if host.socket.exists() and machine.daemon_pid(host) is not None]

    def nodes(self, on: LabHost | None = None) -> dict[str, Any]:
        """Nodes by host name."""
        return {node["Description"]["Hostname"]: node for node in self.get("/nodes", on=on)}

    def node_id(self, host: LabHost) -> str:
        return str(self.get("/info", on=host)["Swarm"]["NodeID"])

    def leader(self, on: LabHost | None = None) -> LabHost | None:
        """Host of the leader according to the manager on ``on``."""
        status, nodes = self.request("GET", "/nodes", on=on)
        if status != http.client.OK:
            return None
        for node in nodes:
            if (node.get("ManagerStatus") or {}).get("Leader"):
                return next(host for host in self.hosts if host.name == node["Description"]["Hostname"])
        return None

    def wait_leader(self, *, but: LabHost | None = None, on: LabHost | None = None) -> LabHost:
        def other() -> LabHost | None:
            found = self.leader(on)
            return found if found != but else None

        return wait(other, "a leader" if but is None else f"a leader other than {but.name}")

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Wait until every host is ready and every manager is reachable and answers. The store may be outdated, so each daemon is asked
        too: it is active only when its own session has begun.
        """

        def ready() -> str:
            try:
                for host in self.hosts:
                    swarm = self.get("/info", on=host)["Swarm"]
                    if swarm["LocalNodeState"] != "active" or swarm["ControlAvailable"] != (host in self.managers):
                        return f"{host.name} has no session yet: {swarm}"
                for manager in self.managers:
                    status, nodes = self.request("GET", "/nodes", on=manager)
                    if status != http.client.OK or not cluster.all_ready(nodes, self.lab):
                        return f"{manager.name} sees {status} {nodes}"
            except OSError as error:
                return str(error)
            return ""

        said = [""]

        def all_ready() -> bool:
            said[0] = ready()
            return not said[0]

        try:
            wait(all_ready, f"all of lab {self.lab.name} ready", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {said[0]}") from None

    def kill(self, *hosts: LabHost) -> None:
        for host in hosts:
            cluster.kill(host)

    def start(self, *hosts: LabHost) -> None:
        """Start dead hosts and daemons, all at once."""
        with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
            list(pool.map(lambda host: cluster.start(self.lab, host), hosts))

    def cut(self, *hosts: LabHost) -> None:
        for host in hosts:
            network.set_link(self.lab, host, up=False)

    def heal(self, *hosts: LabHost) -> None:
        for host in hosts:
            network.set_link(self.lab, host, up=True)

    def restore_all_hosts(self) -> None:
        """Heal all cuts, start every host and daemon, and wait until all are ready."""
        dead = [host for host in self.hosts if machine.daemon_pid(host) is None]
        if dead:
            self.start(*dead)
        self.heal(*self.hosts)
        self.wait_ready()

    # Services and their tasks

    def service(self, name: str, *options: str, command: Sequence[str] = SLEEP, image: str = IMAGE) -> str:
        """Create a service whose containers stop at once. Returns its ID."""
        create = ["service", "create", "--detach", "--no-resolve-image", "--name", name, "--stop-signal", "SIGKILL"]
        return self.docker(*create, *options, image, *command).out.strip()

    def tasks(self, service: str, *, desired: str = "running", state: str = "", on: LabHost | None = None) -> list[Any]:
        wanted: dict[str, Sequence[str]] = {"service": [service]}
        if desired:
            wanted["desired_state"] = [desired]
        return [t for t in self.get("/tasks", on=on, **wanted) if state in {"", t["Status"]["State"]}]

    def running(self, service: str, count: int, *, seconds: float = SECONDS, on: LabHost | None = None) -> list[Any]:
        """Wait until exactly ``count`` tasks of the service are desired and running. Returns them."""

        def all_run() -> list[Any]:
            tasks = self.tasks(service, on=on)
            run_now = [task for task in tasks if task["Status"]["State"] == "running"]
            return run_now if len(tasks) == len(run_now) == count else []

        try:
            return wait(all_run, f"{count} running tasks of {service}", seconds)
        except AssertionError as error:
            raise AssertionError(
                f"{error}\n{self.docker('service', 'ps', '--no-trunc', service, check=None).out}"
            ) from None

    def host_of(self, task: dict[str, Any]) -> LabHost:
        names = {node["ID"]: name for name, node in self.nodes().items()}
        return next(host for host in self.hosts if host.name == names[task["NodeID"]])

    def hosts_of(self, tasks: Sequence[dict[str, Any]]) -> list[LabHost]:
        names = {node["ID"]: name for name, node in self.nodes().items()}
        return [next(host for host in self.hosts if host.name == names[task["NodeID"]]) for task in tasks]

    def container(self, task: dict[str, Any]) -> str:
        return str(task["Status"]["ContainerStatus"]["ContainerID"])

    def execute(
        self, task: dict[str, Any], *command: str, check: int | None = 0, on: LabHost | None = None
    ) -> CommandResult:
        """Run a command in the container of a task."""
        return self.docker("exec", self.container(task), *command, on=on or self.host_of(task), check=check)

    def covey_containers(self, host: LabHost) -> dict[str, int]:
        """IDs and PIDs of the running containers of a host, according to its engine."""
        ids = [shown["Id"] for shown in self.get("/containers/json", on=host)]
        return {one: self.get(f"/containers/{one}/json", on=host)["State"]["Pid"] for one in ids}

    # Images and cleanup

    def load(self, archive: Path, *hosts: LabHost) -> None:
        """Load the test images on these hosts, or on all."""
        with ThreadPoolExecutor(max_workers=3) as pool:
            list(pool.map(lambda host: self.docker("load", "-q", "-i", str(archive), on=host), hosts or self.hosts))

    def remove_all_objects(self) -> None:
        """Remove every service, secret, config and network, and wait until their tasks are gone."""
        for service in self.get("/services"):
            self.request("DELETE", f"/services/{service['ID']}")
        wait(lambda: not self.get("/tasks"), "the tasks of removed services to end")
        for kind in ("secrets", "configs"):
            for thing in self.get(f"/{kind}"):
                self.request("DELETE", f"/{kind}/{thing['ID']}")
        for found in self.get("/networks"):
            if found["Scope"] == "swarm" and not found.get("Ingress"):
                self.request("DELETE", f"/networks/{found['Id']}")


def lab_name(word: str) -> str:
    return f"t{word}-{os.getpid()}"


@contextlib.contextmanager
def running_lab(
    word: str, managers: int, workers: int = 0, *, init_cluster: bool = True, archive: Path | None = None, etcd: int = 0
) -> Iterator[LabCluster]:
    """Run a lab of this session; it is always torn down. With ``archive`` every host has the test images. ``etcd`` is the number of etcd
    members that store the managers' state.
    """
    lab = Lab(lab_name(word), managers, workers, etcd)
    with cluster.running(lab, init_cluster=init_cluster):
        found = LabCluster(lab)
        RUNNING_LABS[lab.name] = found
        try:
            if archive is not None:
                found.load(archive)
            yield found
        finally:
            del RUNNING_LABS[lab.name]


def make_images(folder: Path) -> Path:
    """Archive of both test images. They are imported once, on a temporary host, because every import gives another ID."""
    archive, root = folder / "images.tar", folder / "root.tar"
    root.write_bytes(root_file_system())
    with running_lab("image", 1, init_cluster=False) as one:
        for tag in (IMAGE, OTHER_IMAGE):
            one.docker("import", "-m", tag, str(root), tag)
        one.docker("save", "-o", str(archive), IMAGE, OTHER_IMAGE)
    root.unlink()
    return archive


def daemon_logs() -> list[tuple[str, str]]:
    """Last lines of every daemon's log in running labs, for the report of a failed test."""
    return [
        (f"coveyd on {host.name}", "\n".join(host.log.read_text(errors="replace").splitlines()[-LOG_LINES:]))
        for found in RUNNING_LABS.values()
        for host in found.hosts
        if host.log.exists()
    ]


def abandoned_labs() -> list[Lab]:
    """Labs of test sessions that were killed."""
    found = []
    for lab in cluster.labs():
        word, _, pid = lab.name.rpartition("-")
        if word.startswith("t") and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            found.append(lab)
    return found


def leftovers(owner: int) -> list[str]:
    """Folders, namespaces, mounts, cgroups and processes that labs of the session with this PID left on the machine."""
    mark = f"-{owner}"

    def ours(name: str) -> bool:
        lab = name.removeprefix("covey-").removesuffix("-switch")
        return lab.startswith("t") and (lab.endswith(mark) or lab.rpartition("-")[0].endswith(mark))

    found = [f"folder {path}" for path in LAB_ROOT.glob("*") if ours(path.name)]
    found += [f"namespace {path.name}" for path in Path("/run/netns").glob("covey-*") if ours(path.name)]
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    found += [f"mount {path}" for path in mounts if any(ours(part) for part in Path(path).parts)]
    groups = [root / CGROUP_ROOT.lstrip("/") for root in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*"))]
    found += [f"cgroup {path}" for root in groups if root.is_dir() for path in root.iterdir() if ours(path.name)]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            if int(process.name) != os.getpid() and any(
                ours(part) for word in words.split() for part in Path(word).parts
            ):
                found.append(f"process {process.name}: {words.strip()}")
    return found
