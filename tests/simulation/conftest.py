"""Fixtures of the disk tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory if possible. The tests model durability themselves, so flushes need not be real."""
    if not Path("/dev/shm").is_dir():  # noqa: S108 - the kernel's
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:  # noqa: S108
        yield Path(folder)
