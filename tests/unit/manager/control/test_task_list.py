"""The list of tasks: which tasks it shows while services are removed and scaled down."""

from __future__ import annotations

import pytest

from covey.objects import Annotations, Service, ServiceSpec, Task, TaskStatus
from covey.states import TaskState
from coveypb.v1 import control_pb2
from manager.control.list_filters import list_tasks
from manager.store import MemoryConsensus, Store

RUNNING, SHUTDOWN, REMOVE = TaskState.RUNNING, TaskState.SHUTDOWN, TaskState.REMOVE


def task(name: str, service: str, state: TaskState, desired: TaskState = RUNNING) -> Task:
    return Task(id=name, service_id=service, slot=1, node_id="n", desired_state=desired, status=TaskStatus(state=state))


@pytest.mark.parametrize(
    "request_",
    [
        control_pb2.ListRequest(),
        control_pb2.ListRequest(node_ids=["n"]),
        control_pb2.ListRequest(service_ids=["kept", "gone"]),
    ],
)
async def test_ended_tasks_that_are_only_to_be_deleted_are_not_listed(request_: control_pb2.ListRequest) -> None:
    """``docker stack rm`` counts the lists in which it sees an ended task, and returns when the count equals the length of the list. A
    task that it sees ended once and finds gone in the next list keeps it waiting for ever.
    """
    store = Store(MemoryConsensus)
    shown = [
        task("runs", "kept", RUNNING),
        task("history", "kept", TaskState.FAILED, SHUTDOWN),
        task("scaled down, stops", "kept", RUNNING, REMOVE),
        task("removed, not told", "gone", RUNNING),
        task("removed, stops", "gone", RUNNING, REMOVE),
        task("removed, starts", "gone", TaskState.PREPARING, REMOVE),
    ]
    hidden = [
        task("scaled down, ended", "kept", SHUTDOWN, REMOVE),
        task("removed, history", "gone", TaskState.FAILED, SHUTDOWN),
        task("removed, ended", "gone", TaskState.COMPLETE, REMOVE),
        task("removed, ended, not told", "gone", TaskState.FAILED),
        task("removed, lost", "gone", TaskState.ORPHANED, REMOVE),
        task("removed, never ran", "gone", TaskState.PENDING, REMOVE),
    ]
    service = Service(id="kept", spec=ServiceSpec(annotations=Annotations(name="kept")))
    await store.update(lambda tx: [tx.create(item) for item in (service, *shown, *hidden)])
    assert {item.id for item in list_tasks(store.view(), request_)} == {item.id for item in shown}
