"""Every code block of ``docs/guides/disaster.md``, run in order on the hosts that the page names; ``guide_run`` has the page's form.

The page says that ``covey`` can replace ``docker`` everywhere. Blocks that only read run with both; blocks that change something alternate,
because they cannot be done twice.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.guide_run import RETRY_SECONDS, Act, Block, GuideHosts, steps
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
READ_ONLY = re.compile(r"(docker (ps|info|node ls|node inspect|service ls|service ps)\b[^\n;&|]*\n)+")


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("guide", 3, 1, archive=images) as found:
        found.service("web", "--constraint", "node.role==worker")
        found.running("web", 1)
        yield found


class GuideRun:
    """One walk through the page."""

    def __init__(self, lab: LabCluster, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.changes = 0
        self.ran: list[str] = []
        self.names = GuideHosts(lab)

    def for_lab(self, text: str) -> str:
        """Replace the page's names, addresses and paths by those of the lab."""
        text = text.replace("/backup/", f"{self.folder}/").replace("/root/", f"{self.folder}/root-")
        text = re.sub(r"ssh (\S+) docker", lambda found: f"docker -H unix://{self.names.hosts[found[1]].socket}", text)
        return self.names.for_lab(text)

    def run(self, block: Block) -> None:
        """The first change runs with ``covey``, so that ``covey`` forces the new cluster; ``test_quorum_loss`` uses ``docker`` for it."""
        if "docker" not in block.script:
            programs = ["covey"]
        elif READ_ONLY.fullmatch(block.script):
            programs = ["docker", "covey"]
        else:
            programs = [("covey", "docker")[self.changes % 2]]
            self.changes += 1
        for program in programs:
            self.run_by(program, block)

    def run_by(self, program: str, block: Block) -> None:
        for name in block.hosts:
            environment = self.lab.environment(self.names.hosts[name])
            environment["PATH"] = f"{labs.PYTHON_BIN}:{environment['PATH']}"
            command = ["sh", "-ec", re.sub(r"\bdocker\b", program, self.for_lab(block.script))]
            self.ran.append(command[-1])
            if block.retry:
                labs.wait(
                    lambda: labs.run(command, check=None, env=environment).code == 0,  # noqa: B023
                    block.script,
                    RETRY_SECONDS,
                )
            else:
                labs.run(command, check=block.code, env=environment)


def test_every_block_of_the_guide_works_as_described(lab: LabCluster, tmp_path: Path) -> None:
    guide = GuideRun(lab, tmp_path)
    for step in steps("disaster.md"):
        if isinstance(step, Act):
            guide.names.act(step)
        else:
            guide.run(step)
    assert any("covey swarm init --force-new-cluster" in script for script in guide.ran), (
        "the new cluster is not forced with covey"
    )
    first = lab.managers[0]
    labs.wait(
        lambda: lab.nodes(first)[lab.workers[0].name]["Status"]["State"] == "ready", "the worker to be ready again"
    )
    lab.running("web", 1, on=first)
