"""Container sandboxes without a kernel: ids, lookups and what is on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.network.container_sandboxes import ContainerSandboxes
from covey.errors import InvalidArgumentError, NotFoundError


@pytest.mark.parametrize("container_id", ["", "../outside", "a/b", ".hidden"])
def test_an_id_that_could_leave_the_folder_is_refused(tmp_path: Path, container_id: str):
    (tmp_path / "outside").touch()
    sandboxes = ContainerSandboxes(tmp_path / "containers")
    sandboxes.prepare()
    for call in (sandboxes.open, sandboxes.open_existing, sandboxes.remove):
        with pytest.raises(InvalidArgumentError, match="not a valid container id"):
            call(container_id)
    assert (tmp_path / "outside").exists()


def test_a_container_without_a_sandbox_is_named(tmp_path: Path):
    sandboxes = ContainerSandboxes(tmp_path)
    with pytest.raises(NotFoundError, match="container c1 has no network sandbox"):
        sandboxes.get("c1")
    with pytest.raises(NotFoundError, match="cannot be adopted"):
        sandboxes.open_existing("c1")
    assert "c1" not in sandboxes


def test_files_without_a_mounted_namespace_are_deleted_at_the_start(tmp_path: Path):
    (tmp_path / "leftover").touch()
    sandboxes = ContainerSandboxes(tmp_path)
    assert list(sandboxes.paths()) == ["leftover"]
    sandboxes.prepare()
    assert sandboxes.paths() == {}
