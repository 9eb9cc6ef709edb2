"""Every block of ``docs/guides/jobs.md``, run in order. A ``text`` block shows lines of what the block before it prints; … is any words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "jobs.md"
BLOCK = re.compile(
    r"^```(?P<kind>sh|text|yaml)(?: (?P<option>\w+)=(?P<value>\S+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)


def pattern(line: str) -> str:
    """A shown line as a regular expression: columns may be wider, and … stands for any words."""
    return r"\s+".join(re.escape(word).replace("…", ".+") for word in line.split())


@pytest.mark.parametrize("program", ["docker", "covey"])
def test_every_block_of_the_guide_works_as_described(lab: LabCluster, tmp_path: Path, program: str) -> None:
    page = GUIDE.read_text().replace("busybox", IMAGE)
    blocks = list(BLOCK.finditer(page))
    assert len([block for block in blocks if block["kind"] == "sh"]) == page.count("```sh") >= 9
    environment = lab.environment()
    environment["PATH"] = f"{labs.PYTHON_BIN}:{environment['PATH']}"
    said = ""
    for block in blocks:
        if block["kind"] == "yaml":
            (tmp_path / block["value"]).write_text(block["body"])
        elif block["kind"] == "text":
            for line in block["body"].splitlines():
                assert re.search(pattern(line), said), (line, said)
        else:
            script = re.sub(r"\bdocker\b", program, block["body"])
            done = labs.run(["sh", "-ec", script], env=environment, cwd=tmp_path, check=int(block["value"] or 0))
            said = done.out + done.err
    labs.wait(lambda: not lab.get("/services"), "the removal of everything")
