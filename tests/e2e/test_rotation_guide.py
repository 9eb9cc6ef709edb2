"""Every block of ``docs/guides/rotation.md``, run in order, and what a node holds of a secret's versions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "rotation.md"
BLOCK = re.compile(r"^```(?P<kind>sh|text)(?: code=(?P<code>\d))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_block_of_the_guide_works_as_described(lab: LabCluster) -> None:
    page = GUIDE.read_text().replace("busybox", IMAGE)
    blocks = list(BLOCK.finditer(page))
    assert len([block for block in blocks if block["kind"] == "sh"]) == page.count("```sh") >= 9
    environment = lab.environment()
    environment["PATH"] = f"{labs.PYTHON_BIN}:{environment['PATH']}"
    said = ""
    for block in blocks:
        if block["kind"] == "text":
            for line in block["body"].splitlines():
                assert line in said, (line, said)
        else:
            done = labs.run(["sh", "-ec", block["body"]], env=environment, check=int(block["code"] or 0))
            said = done.out + done.err
    labs.wait(lambda: not lab.get("/secrets"), "the removal of everything")
