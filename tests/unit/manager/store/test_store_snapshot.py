"""Snapshots of the store: shared specs are written once and restored."""

import pytest

from covey.objects import ContainerSpec, Service, ServiceSpec, Task, TaskSpec
from coveypb.v1 import store_pb2
from manager.store import MemoryConsensus, Store, snapshot


async def test_a_spec_that_tasks_share_with_their_service_is_written_once_and_each_task_gets_its_own_back() -> None:
    old = TaskSpec(container=ContainerSpec(image="old" * 100))
    new = TaskSpec(container=ContainerSpec(image="new" * 100))
    odd = TaskSpec(container=ContainerSpec(image="odd"))
    store = Store(MemoryConsensus)
    service = Service(id="s", spec=ServiceSpec(task=new), previous_spec=ServiceSpec(task=old))
    tasks = [Task(id=f"t{number}", service_id="s", spec=(new, old, odd)[number % 3]) for number in range(30)]
    alone = Task(id="alone", service_id="gone", spec=new)
    await store.update(lambda tx: [tx.create(item) for item in (service, *tasks, alone)])
    data = snapshot.encode(store.view(), ())
    again, _ = snapshot.decode(store.view().version, data)
    assert {task.id: task for task in again.tasks} == {task.id: task for task in store.view().tasks}
    assert data.count(b"new" * 100) == 2
    assert data.count(b"old" * 100) == 1
    task, stored = again.tasks.get("t3"), again.services.get("s")
    assert task is not None
    assert stored is not None
    assert task.spec is stored.spec.task


def test_a_task_whose_shared_spec_is_missing_is_refused_by_name() -> None:
    data = store_pb2.StoreSnapshot(task_specs=[store_pb2.TASK_SPEC_SOURCE_SERVICE_SPEC])
    data.tasks.add(id="orphan", service_id="gone")
    with pytest.raises(ValueError, match="orphan"):
        snapshot.decode(1, data.SerializeToString())
