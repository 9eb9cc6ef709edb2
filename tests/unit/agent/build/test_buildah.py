"""A host without the programs that builds need."""

from pathlib import Path

import pytest

from agent.build.buildah import Buildah
from agent.build.storage import BuildStorage
from covey.errors import UnsupportedError


def test_a_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnsupportedError, match="the program buildah is not installed; install the package buildah"):
        Buildah(BuildStorage(tmp_path / "state", tmp_path / "run")).require()
