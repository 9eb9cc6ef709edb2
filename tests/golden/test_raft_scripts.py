"""Every story under tests/golden/raft is told again by the core, word for word.

After a change that is meant: `REWRITE=1 pytest tests/golden/test_raft_scripts.py`, then read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.raft_script import replay

SCRIPTS = sorted((Path(__file__).parent / "raft").glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_core_tells_the_story(path: Path) -> None:
    expected = path.read_text()
    told = replay(expected)
    if os.environ.get("REWRITE"):
        path.write_text(told)
    else:
        assert told.splitlines() == expected.splitlines()


def test_there_are_stories() -> None:
    assert len(SCRIPTS) >= 34
