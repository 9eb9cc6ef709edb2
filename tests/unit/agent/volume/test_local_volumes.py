"""Local volume driver: creation, names, removal and cleanup."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.volume.local import VolumeStore
from covey.errors import ConflictError, InvalidArgumentError, NotFoundError


@pytest.fixture
def volumes(tmp_path: Path) -> VolumeStore:
    return VolumeStore(tmp_path / "volumes")


def test_a_volume_is_created_once_and_keeps_its_labels(volumes: VolumeStore) -> None:
    made = volumes.create("data", labels={"a": "b"}, now_ns=7)
    assert volumes.create("data", labels={"other": ""}) == made == volumes.get("data")
    assert volumes.list() == [made]
    assert volumes.data_path("data").is_dir()


def test_a_volume_without_a_name_is_anonymous(volumes: VolumeStore) -> None:
    made = volumes.create()
    assert len(made.name) == 64
    assert made.is_anonymous
    assert not volumes.create("named").is_anonymous


async def test_removal_deletes_the_data(volumes: VolumeStore) -> None:
    volumes.create("data")
    path = volumes.data_path("data")
    (path / "x").touch()
    await volumes.remove("data")
    assert not path.exists()
    with pytest.raises(NotFoundError, match="data"):
        await volumes.remove("data")


async def test_a_used_volume_is_not_removed(volumes: VolumeStore) -> None:
    volumes.create("data")
    await volumes.use("data", "c1")
    with pytest.raises(ConflictError, match=r"volume is in use - \[c1\]"):
        await volumes.remove("data")
    assert await volumes.release("c1") == ["data"]
    await volumes.remove("data")


async def test_events_tell_of_creation_and_removal(volumes: VolumeStore) -> None:
    with volumes.events.subscribe() as events:
        volumes.create("data")
        volumes.create("data")
        await volumes.remove("data")
        seen = [await events.get(), await events.get()]
    assert [(event.action, event.name) for event in seen] == [("create", "data"), ("destroy", "data")]


@pytest.mark.parametrize("name", ["../x", ".hidden", "a/b", "-x", "x" * 256])
def test_a_name_that_could_lead_elsewhere_is_refused(volumes: VolumeStore, name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        volumes.create(name)
    with pytest.raises(NotFoundError):
        volumes.get(name)


def test_remains_of_an_interrupted_creation_are_deleted(volumes: VolumeStore, tmp_path: Path) -> None:
    volumes.create("data")
    (tmp_path / "volumes/.new-x/_data").mkdir(parents=True)
    assert [v.name for v in volumes.list()] == ["data"]
    volumes.remove_leftovers()
    assert [p.name for p in (tmp_path / "volumes").iterdir()] == ["data"]


def test_an_unknown_driver_is_not_found(volumes: VolumeStore) -> None:
    with pytest.raises(NotFoundError, match='error looking up volume plugin rexray: plugin "rexray" not found'):
        volumes.create("x1", driver="rexray")
    assert volumes.list() == []
