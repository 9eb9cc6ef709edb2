"""Every code block of ``docs/guides/disaster.md``, run in order on the hosts that the page names.

A comment ``<!-- lab: VERB HOST… -->`` in the page says what happens to hosts between two blocks: kill, start, wipe (a new disk), move HOST
ADDRESS (boot with that address), settle (wait until every living node is ready). ``retry`` in a block's head repeats the block until it succeeds.

The page says that ``covey`` can replace ``docker`` everywhere. Blocks that only read run with both; blocks that change something alternate,
because they cannot be done twice.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab import cluster as lab_cluster
from node.lab import host as machine
from node.lab import network
from node.lab.layout import GATEWAY, SUBNET, LabHost
from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "disaster.md"
STEP = re.compile(
    r"^<!-- lab: (?P<act>[^\n]+) -->$|^```sh on=(?P<on>\S+)(?P<retry> retry)?$\n(?P<script>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
READ_ONLY = re.compile(r"(docker (ps|info|node ls|node inspect|service ls|service ps)\b[^\n;&|]*\n)+")
RETRY_SECONDS = 60.0


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("guide", 3, 1, archive=images) as found:
        found.service("web", "--constraint", "node.role==worker")
        found.running("web", 1)
        yield found


class GuideRun:
    """One walk through the page, with the lab's hosts by the names that the page gives them."""

    def __init__(self, lab: LabCluster, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.changes = 0
        self.ran: list[str] = []
        self.hosts: dict[str, LabHost] = {
            **{f"manager-{number}": host for number, host in enumerate(lab.managers, start=1)},
            **{f"worker-{number}": host for number, host in enumerate(lab.workers, start=1)},
        }

    def for_lab(self, text: str) -> str:
        """Replace the page's names and addresses by those of the lab."""
        text = (
            text.replace("10.0.0.", f"{SUBNET}.")
            .replace("/backup/", f"{self.folder}/")
            .replace("/root/", f"{self.folder}/root-")
        )
        text = re.sub(r"ssh (\S+) docker", lambda found: f"docker -H unix://{self.hosts[found[1]].socket}", text)
        return re.sub(r"\b(manager|worker)-\d\b", lambda found: self.hosts[found[0]].name, text)

    def run(self, on: str, script: str, *, retry: bool) -> None:
        """The first change runs with ``covey``, so that ``covey`` forces the new cluster; ``test_quorum_loss`` uses ``docker`` for it."""
        if "docker" not in script:
            programs = ["covey"]
        elif READ_ONLY.fullmatch(script):
            programs = ["docker", "covey"]
        else:
            programs = [("covey", "docker")[self.changes % 2]]
            self.changes += 1
        for program in programs:
            self.run_by(program, on, script, retry=retry)

    def run_by(self, program: str, on: str, script: str, *, retry: bool) -> None:
        for name in on.split(","):
            environment = self.lab.environment(self.hosts[name])
            environment["PATH"] = f"{labs.PYTHON_BIN}:{environment['PATH']}"
            command = ["sh", "-ec", re.sub(r"\bdocker\b", program, self.for_lab(script))]
            self.ran.append(command[-1])
            if retry:
                labs.wait(lambda: labs.run(command, check=None, env=environment).code == 0, script, RETRY_SECONDS)  # noqa: B023
            else:
                labs.run(command, env=environment)

    def act(self, verb: str, *names: str) -> None:
        hosts = [self.hosts[name] for name in names if name in self.hosts]
        match verb:
            case "kill":
                self.lab.kill(*hosts)
            case "start":
                self.lab.start(*hosts)
            case "wipe":
                for path in [path for host in hosts for path in host.state_dir.iterdir()]:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            case "move":
                self._boot_at(hosts[0], self.for_lab(names[1]))
            case "settle":
                self.lab.wait_ready()
            case _:
                raise AssertionError(f"the page has the unknown verb {verb}")

    def _boot_at(self, host: LabHost, address: str) -> None:
        machine.remove_cgroups(host.cgroup)
        network.connect_host(self.lab.lab, host)
        machine.boot(host)
        self.lab.inside(host, "ip", "address", "flush", "dev", "eth0")
        self.lab.inside(host, "ip", "address", "add", f"{address}/24", "dev", "eth0")
        self.lab.inside(host, "ip", "route", "add", "default", "via", GATEWAY)
        lab_cluster.start_daemon(host)


def test_every_block_of_the_guide_works_as_described(lab: LabCluster, tmp_path: Path) -> None:
    page = GUIDE.read_text()
    steps = list(STEP.finditer(page))
    assert len([step for step in steps if step["script"]]) == page.count("```sh") >= 10, "every block is run"
    guide = GuideRun(lab, tmp_path)
    for step in steps:
        if step["act"]:
            guide.act(*step["act"].split())
        else:
            guide.run(step["on"], step["script"], retry=bool(step["retry"]))
    assert any("covey swarm init --force-new-cluster" in script for script in guide.ran), (
        "the new cluster is not forced with covey"
    )
    first = lab.managers[0]
    labs.wait(
        lambda: lab.nodes(first)[lab.workers[0].name]["Status"]["State"] == "ready", "the worker to be ready again"
    )
    lab.running("web", 1, on=first)
