"""Deleting the runtime state of containers."""

import asyncio
from pathlib import Path

import pytest

from agent.runtime.runc import OciRuntime
from covey.errors import UnavailableError


def test_the_runtime_is_only_asked_to_delete_what_it_has_state_of(tmp_path: Path) -> None:
    runtime = OciRuntime("/no/such/runc", tmp_path)
    asyncio.run(runtime.delete("gone"))
    (tmp_path / "left").mkdir()
    with pytest.raises(UnavailableError, match="/no/such/runc"):
        asyncio.run(runtime.delete("left"))


def test_a_runtime_that_may_have_more_than_a_directory_is_always_asked(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="/no/such/runsc"):
        asyncio.run(OciRuntime("/no/such/runsc", tmp_path).delete("gone"))


def test_forgetting_a_container_deletes_its_state_alone(tmp_path: Path) -> None:
    for name in ("ended", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").write_text("{}")
    OciRuntime("runc", tmp_path).forget("ended")
    assert [entry.name for entry in tmp_path.iterdir()] == ["other"]
