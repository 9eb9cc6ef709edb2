"""Demo of a cluster: a stack with a secret, service names across hosts, a published port, the death of a worker and of the leader.

``make demo`` runs it. Every step is a command that a user would type, shown with its duration. The lab is always removed at the end.
"""

import functools
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from covey.errors import CoveyError, DeadlineError
from node.lab import api, cluster
from node.lab import host as machine
from node.lab.image import root_file_system
from node.lab.layout import Lab, LabHost

HERE = Path(__file__).parent
COVEY = str(Path(sys.executable).with_name("covey"))
IMAGE = "covey-demo:1"
STEP_SECONDS = 40.0
REPLICAS = 6
PORT = 8080


class Demo:
    """The steps, in order, against one lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.alive = list(lab.hosts)
        self.times: list[tuple[str, float]] = []

    def run(self) -> None:
        """Run all steps."""
        self.step("a cluster of 3 managers and 2 workers", lambda: cluster.up(self.lab))
        self.covey("node", "ls")
        self.step("an image on every host, without a registry", self.load_image)
        self.step("an overlay network, a secret and two services from one file", self.deploy)
        self.covey("stack", "services", "demo")
        self.covey("service", "ps", "demo_web")
        self.step("the client reaches web by name, on every host that serves it", self.answers)
        self.step("one task, published: every node answers a client outside, also the four without it", self.publish)
        self.step("a worker dies; its replicas run elsewhere", self.kill_worker)
        self.covey("service", "ps", "--filter", "desired-state=running", "demo_web")
        self.step("the leader dies; a write succeeds", self.kill_leader)
        self.covey("node", "ls")
        self.step("still answering, without the two dead hosts", self.answers)

    def step(self, title: str, action: Callable[[], None]) -> None:
        """Run one step and record its duration."""
        print(f"\n== {title}", flush=True)
        began = time.monotonic()
        action()
        took = time.monotonic() - began
        self.times.append((title, took))
        print(f"   took {took:.1f} s", flush=True)

    def covey(self, *arguments: str, show: bool = True, may_fail: bool = False) -> str:
        """Run a covey command on the first manager that is alive."""
        if show:
            print(f"$ covey {' '.join(arguments)}", flush=True)
        environment = {**os.environ, **machine.client_environment(self.alive[0])}
        done = subprocess.run(
            [COVEY, *arguments], env=environment, capture_output=True, text=True, timeout=STEP_SECONDS, check=False
        )
        if done.returncode and not may_fail:
            raise CoveyError(
                f"covey {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
            )
        if show:
            print("".join(f"  {line}\n" for line in done.stdout.splitlines()), end="", flush=True)
        return done.stdout

    def api(self, method: str, url: str, body: object = None) -> Any:
        """Call the Engine API on the first manager that is alive."""
        return api.call(self.alive[0].socket, method, url, body)

    def load_image(self) -> None:
        """Import the image on one host, then save and load it, so that all hosts have the same image id."""
        archive = Path(self.lab.folder) / "image.tar"
        root = Path(self.lab.folder) / "root.tar"
        root.write_bytes(root_file_system())
        self.covey("image", "import", str(root), IMAGE)
        self.covey("image", "save", "-o", str(archive), IMAGE)
        for host in self.lab.hosts[1:]:
            environment = {**os.environ, **machine.client_environment(host)}
            subprocess.run(
                [COVEY, "image", "load", "-q", "-i", str(archive)], env=environment, check=True, timeout=STEP_SECONDS
            )
        archive.unlink()
        root.unlink()

    def deploy(self) -> None:
        """Deploy the stack and wait until every replica runs."""
        self.covey("stack", "deploy", "-c", os.path.relpath(HERE / "stack.yaml"), "demo")
        self.wait_for_replicas()

    def wait_for_replicas(self, gone: str = "") -> None:
        """Wait until six web tasks run, none of them on the node ``gone``."""

        def all_run() -> bool:
            nodes = [task["NodeID"] for task in self.running("demo_web")]
            return len(nodes) == REPLICAS and gone not in nodes

        machine.wait_until(all_run, "six replicas of web", STEP_SECONDS)

    def running(self, service: str) -> list[dict[str, Any]]:
        """The running tasks of a service whose desired state is running."""
        filters = json.dumps({"service": {service: True}, "desired-state": {"running": True}})
        tasks: list[dict[str, Any]] = self.api("GET", f"/tasks?filters={filters.replace(' ', '')}")
        return [task for task in tasks if task["Status"]["State"] == "running"]

    def answers(self) -> None:
        """Read the clients' log until every running web replica has answered, then print the counts."""
        expected = len(self.running("demo_web"))
        since = str(int(time.time()))
        seen: Counter[str] = Counter()

        def all_answered() -> bool:
            seen.clear()
            # The lines of a dead node are missing: the command prints all others, reports that, and exits with 1.
            log = self.covey("service", "logs", "--raw", "--since", since, "demo_client", show=False, may_fail=True)
            seen.update(re.findall(r"^(\w+ on [\w-]+ with secret \w+)", log, re.MULTILINE))
            return len(seen) >= expected

        print("$ covey service logs --raw demo_client", flush=True)
        machine.wait_until(all_answered, f"answers of all {expected} replicas", STEP_SECONDS)
        for line, count in sorted(seen.items(), key=lambda item: item[0].split()[2]):
            print(f"  {count:4d} times  {line}")

    def publish(self) -> None:
        """Publish a service of one task, and fetch its page from outside the cluster through every node."""
        self.covey(
            *("service", "create", "-q", "--name", "page", "--publish", f"{PORT}:80", "--secret", "demo_greeting"),
            *(
                "--env",
                "NODE={{.Node.Hostname}}",
                "--stop-signal",
                "SIGKILL",
                IMAGE,
                "httpd",
                "-f",
                "-p",
                "80",
                "-h",
                "/www",
            ),
        )
        self.covey("service", "ps", "page")
        for host in self.alive:
            url = f"http://{host.address}:{PORT}/cgi-bin/who"
            machine.wait_until(functools.partial(self._answers_at, url), f"an answer from {url}", STEP_SECONDS)
            print(f"outside$ curl {url}   # {host.name}\n  {self.fetch(url)}", flush=True)

    def _answers_at(self, url: str) -> bool:
        return bool(self.fetch(url))

    def fetch(self, url: str) -> str:
        """The page at ``url`` as a client outside the cluster gets it, on the switch that joins the hosts; empty without an answer."""
        command = ["ip", "netns", "exec", self.lab.switch, "curl", "--silent", "--max-time", "2", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=STEP_SECONDS, check=False)
        return done.stdout.strip()

    def kill_worker(self) -> None:
        """Kill a worker that has replicas, and wait until all six run elsewhere."""
        tasks = self.running("demo_web")
        names = {node["ID"]: node["Description"]["Hostname"] for node in self.api("GET", "/nodes")}
        worker = next(
            h for h in self.lab.hosts[self.lab.managers :] if any(names[t["NodeID"]] == h.name for t in tasks)
        )
        node = next(node for node, name in names.items() if name == worker.name)
        print(f"$ covey lab kill {worker.name}", flush=True)
        cluster.kill(worker)
        self.alive.remove(worker)
        self.wait_for_replicas(gone=node)

    def kill_leader(self) -> None:
        """Kill the leader, and retry a write on another manager until it succeeds."""
        nodes = self.api("GET", "/nodes")
        name = next(n["Description"]["Hostname"] for n in nodes if n.get("ManagerStatus", {}).get("Leader"))
        leader: LabHost = next(host for host in self.lab.hosts if host.name == name)
        print(f"$ covey lab kill {leader.name}", flush=True)
        cluster.kill(leader)
        self.alive.remove(leader)

        def written() -> bool:
            try:
                self.api("POST", "/secrets/create", {"Name": "after-the-leader", "Data": "dGhlcmU="})
            except (CoveyError, OSError):
                return False
            return True

        machine.wait_until(written, "a write after the leader's death", STEP_SECONDS)
        self.covey("secret", "ls")


def main() -> int:
    """Run the demo. Returns 0 if every step succeeded."""
    lab = Lab("demo", 3, 2)
    demo = Demo(lab)
    began = time.monotonic()
    try:
        try:
            demo.run()
        finally:
            demo.step("the lab is removed", lambda: cluster.down(lab))
    except (CoveyError, DeadlineError, subprocess.SubprocessError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print("\nSummary")
    for title, took in demo.times:
        print(f"  {took:6.1f} s  {title}")
    print(f"  {time.monotonic() - began:6.1f} s  in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
