"""Golden scripts of the Raft core: replays every script under tests/golden/raft and compares it word for word.

After an intended change run `COVEY_WRITE_GOLDEN=1 pytest tests/golden` and read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.raft_script import replay

SCRIPTS = sorted((Path(__file__).parent / "raft").glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_core_answers_the_script_as_recorded(path: Path) -> None:
    expected = path.read_text()
    actual = replay(expected)
    if os.environ.get("COVEY_WRITE_GOLDEN"):
        path.write_text(actual)
    else:
        assert actual.splitlines() == expected.splitlines()


def test_the_scripts_are_found() -> None:
    assert len(SCRIPTS) >= 36
