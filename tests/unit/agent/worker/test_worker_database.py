"""What the worker finds again after a restart."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.task.state_machine import TaskRecord
from agent.worker.database import WorkerDatabase
from covey.errors import CoveyError
from covey.objects import (
    Annotations,
    ContainerSpec,
    ContainerStatus,
    Network,
    NetworkSpec,
    Secret,
    SecretSpec,
    Task,
    TaskSpec,
    TaskStatus,
)
from covey.objects.assignment import AssignmentChange, AssignmentKind, NetworkEndpoint, VirtualService
from covey.states import TaskState

RECORD = TaskRecord(
    task=Task(id="t" * 25, spec=TaskSpec(container=ContainerSpec(image="app:1", env=("A=ü",)))),
    status=TaskStatus(state=TaskState.RUNNING, container=ContainerStatus(container_id="c", pid=4)),
    container_id="c" * 64,
    history=(TaskState.ASSIGNED, TaskState.RUNNING),
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[WorkerDatabase]:
    made = WorkerDatabase(tmp_path / "worker.db")
    made.open()
    yield made
    made.close()


def again(database: WorkerDatabase, tmp_path: Path) -> WorkerDatabase:
    database.close()
    database.open()
    return database


def change(kind: AssignmentKind, item: Network | NetworkEndpoint | VirtualService | Secret) -> AssignmentChange:
    return AssignmentChange(kind=kind, id=item.id, item=item)


def test_a_record_comes_back_as_it_was(database: WorkerDatabase, tmp_path: Path) -> None:
    database.save(RECORD)
    assert again(database, tmp_path).tasks() == (RECORD,)
    database.delete(RECORD.task.id)
    assert database.tasks() == ()
    assert stat.S_IMODE((tmp_path / "worker.db").stat().st_mode) == 0o600


def test_network_objects_are_kept_until_a_change_removes_them(database: WorkerDatabase, tmp_path: Path) -> None:
    network = change(
        AssignmentKind.NETWORK, Network(id="n", spec=NetworkSpec(annotations=Annotations(name="back")), vni=5)
    )
    endpoint = change(AssignmentKind.ENDPOINT, NetworkEndpoint(id="t/n", address="10.0.0.2"))
    service = change(AssignmentKind.VIRTUAL_SERVICE, VirtualService(id="s/n", name="web"))
    database.save_network_objects([network, endpoint])
    database.save_network_objects([service, AssignmentChange(kind=AssignmentKind.ENDPOINT, id="t/n")])
    assert again(database, tmp_path).network_objects() == (network, service)
    database.save_network_objects([AssignmentChange(kind=change.kind, id=change.id) for change in (network, service)])
    assert database.network_objects() == ()


def test_a_secret_is_never_written(database: WorkerDatabase, tmp_path: Path) -> None:
    secret = change(AssignmentKind.SECRET, Secret(id="k", spec=SecretSpec(data=b"hush-7261")))
    database.save_network_objects([secret])
    database.save(RECORD)
    assert database.network_objects() == ()
    assert all(b"hush-7261" not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_file_that_is_no_database_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "worker.db"
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(CoveyError, match=r"worker\.db.*move it away"):
        WorkerDatabase(path).open()
