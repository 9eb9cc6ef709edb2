"""Every code block of ``docs/guides/from-compose-to-a-cluster.md``, run in order on the hosts that the page names.

Blocks run inside the hosts, in a copy of ``examples/voting-app``. What a block exports holds in later ones, as in a terminal.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs, voting
from tests.support.guide_run import RETRY_SECONDS, Act, Block, GuideHosts, steps
from tests.support.lab_registry import REGISTRY, running_lab_with_registry
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
BLOCK_SECONDS = 200.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCluster]:
    folder = tmp_path_factory.mktemp("guide")
    with running_lab_with_registry("compguide", 3, 2, folder) as found:
        voting.push_base_image(found, folder)
        voting.link_engine_sockets(found)
        yield found


class GuideRun:
    """One walk through the page."""

    def __init__(self, lab: LabCluster, folder: Path) -> None:
        self.lab = lab
        self.names = GuideHosts(lab)
        self.folder = folder
        self.exports = {"PYTHON": voting.BASE}

    def run(self, block: Block) -> None:
        script = self.names.for_lab(block.script).replace("registry.lan:5000", REGISTRY)
        self.exports |= dict(re.findall(r"^export (\w+)=(\S+)$", script, re.MULTILINE))
        for name in block.hosts:
            host = self.names.hosts[name]
            environment = self.lab.environment(host) | self.exports
            environment["PATH"] = f"{labs.PYTHON_BIN}:{environment['PATH']}"
            variables = [f"{key}={value}" for key, value in environment.items()]
            command = ("env", "-i", *variables, "sh", "-ec", f"cd {self.folder}\n{script}")
            if block.retry:
                labs.wait(lambda: self.lab.inside(host, *command, check=None).code == 0, block.script, RETRY_SECONDS)  # noqa: B023
            else:
                self.lab.inside(host, *command, check=block.code, timeout=BLOCK_SECONDS)


def test_every_block_of_the_guide_works_as_described(lab: LabCluster, tmp_path: Path) -> None:
    shutil.copytree(voting.FOLDER, tmp_path / "voting-app")
    guide = GuideRun(lab, tmp_path / "voting-app")
    for step in steps("from-compose-to-a-cluster.md"):
        if isinstance(step, Act):
            guide.names.act(step)
        else:
            guide.run(step)
    assert not lab.get("/services")
    for host in lab.hosts:
        assert not lab.docker("volume", "ls", "-q", on=host).lines
