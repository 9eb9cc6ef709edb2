"""Fixtures of the disk tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder that is quick to fill and to clear, where there is one: what is flushed here is for the test's own model to say."""
    if not Path("/dev/shm").is_dir():  # noqa: S108 - the kernel's
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:  # noqa: S108
        yield Path(folder)
