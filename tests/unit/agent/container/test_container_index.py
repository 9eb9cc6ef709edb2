"""Container index: look-up by id, name and prefix, and the order of disk and memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.container.index import ContainerIndex
from agent.container.model import (
    ContainerConfig,
    ContainerEvent,
    ContainerMount,
    ContainerState,
    ExecConfig,
    ExecState,
    MountKind,
    RunStatus,
)
from agent.container.store import ContainerStore
from agent.event_bus import EventBus
from covey.errors import AlreadyExistsError, ConflictError, InvalidArgumentError, NotFoundError

RUNNING = ContainerState(status=RunStatus.RUNNING, pid=7, start_count=1)


@pytest.fixture
def bus() -> EventBus[ContainerEvent]:
    return EventBus()


@pytest.fixture
def index(tmp_path: Path, bus: EventBus[ContainerEvent]) -> Iterator[ContainerIndex]:
    made = ContainerIndex(ContainerStore(tmp_path / "containers.db"), bus)
    yield made
    made.close()


def config(container_id: str, name: str, **changes: object) -> ContainerConfig:
    return ContainerConfig(
        **{
            "id": container_id.ljust(64, "0"),
            "name": name,
            "image": "i",
            "image_id": "x",
            "args": ("x",),
            **changes,
        }
    )


def test_a_container_is_found_by_id_name_and_unique_prefix(index: ContainerIndex) -> None:
    web, database = index.add(config("ab1", "web")), index.add(config("ab2", "db"))
    assert index.find(web.config.id) is index.find("web") is index.find("/web") is index.find("ab1") is web
    assert index.find("db") is database
    with pytest.raises(InvalidArgumentError, match="Multiple IDs"):
        index.find("ab")
    for ref in ("", "nothing", "b1"):
        with pytest.raises(NotFoundError, match="No such container"):
            index.find(ref)


def test_only_running_containers_are_found_as_running(index: ContainerIndex) -> None:
    web = index.add(config("a", "web"))
    with pytest.raises(ConflictError, match="is not running"):
        index.find_running("web")
    index.set_state(web, RUNNING)
    assert index.find_running("web") is web


def test_a_new_name_replaces_the_old_one_and_a_name_in_use_changes_nothing(index: ContainerIndex) -> None:
    web = index.add(config("a", "web"))
    index.add(config("b", "db"))
    with pytest.raises(AlreadyExistsError, match="db"):
        index.set_config(web, config("a", "db"))
    assert index.find("web") is web
    index.set_config(web, config("a", "site"))
    assert index.find("site") is web
    with pytest.raises(NotFoundError):
        index.find("web")


def test_another_index_loads_what_was_written(index: ContainerIndex, tmp_path: Path) -> None:
    web = index.add(config("a", "web"))
    gone = index.add(config("b", "gone"))
    web.pid_ticks = 99
    index.save_start(web, RUNNING)
    index.remove(gone)
    again = ContainerIndex(ContainerStore(tmp_path / "containers.db"), EventBus())
    [row] = again.load()
    assert (row.container.name, row.container.state, row.starting, row.pid_ticks) == ("web", RUNNING, True, 99)
    assert web.state == ContainerState(), "a start that is not confirmed is on disk only"
    assert again.ids() == {web.config.id}
    again.close()


def test_users_of_a_volume_are_those_that_mount_it(index: ContainerIndex) -> None:
    volume = ContainerMount(kind=MountKind.VOLUME, target="/x", source="data")
    bind = ContainerMount(kind=MountKind.BIND, target="/x", source="data")
    web = index.add(config("a", "web", mounts=(volume,)))
    index.add(config("b", "db", mounts=(bind,)))
    assert index.volume_users("data") == [web.config.id]


async def test_events_of_an_exec_name_it_with_its_command_and_exit_code(
    index: ContainerIndex, bus: EventBus[ContainerEvent]
) -> None:
    web = index.add(config("a", "web"))
    state = ExecState(id="e1", container_id=web.config.id, config=ExecConfig(args=("ls", "-l")), exit_code=3)
    with bus.subscribe() as events:
        index.emit_exec(state, "exec_start")
        index.emit_exec(state, "exec_die")
        index.remove(web)
        index.emit_exec(state, "exec_die")
        started, ended = await events.get(), await events.get()
        bus.close()
        with pytest.raises(EOFError):
            await events.get()
    assert (started.action, ended.action) == ("exec_start: ls -l", "exec_die")
    assert ended.attributes == {"execID": "e1", "exitCode": "3"}
