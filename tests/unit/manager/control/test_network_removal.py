"""Removal of a network: it waits for tasks that are stopping, within a bound, and for nothing else."""

import asyncio
from typing import Any

import pytest

from covey import codec
from covey.errors import PreconditionError
from covey.objects import (
    Annotations,
    ContainerSpec,
    NetworkAttachment,
    NetworkAttachmentConfig,
    NetworkSpec,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskStatus,
    replace,
)
from covey.states import TaskState
from coveypb.v1 import control_pb2
from manager.control.servicer import ControlServicer
from manager.store import Store
from tests.support.no_logs import NoLogs


class Deadline:
    """The context of a call with a deadline."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def time_remaining(self) -> float:
        return self.seconds


@pytest.fixture
def control(store: Store) -> ControlServicer:
    return ControlServicer(store, NoLogs(), release_seconds=5)


async def create_network(control: ControlServicer) -> str:
    spec = codec.to_wire(NetworkSpec(annotations=Annotations(name="front")))
    return str((await control.CreateNetwork(control_pb2.CreateNetworkRequest(spec=spec), None)).id)


async def add_task(store: Store, network_id: str, **fields: Any) -> None:
    task = Task(
        id="t",
        status=TaskStatus(state=TaskState.RUNNING),
        networks=(NetworkAttachment(network_id=network_id, address="10.0.0.2/24"),),
        **fields,
    )
    await store.update(lambda tx: tx.create(task))


async def tell_to_stop(store: Store) -> None:
    task = store.view().tasks.find("t")
    await store.update(lambda tx: tx.update(replace(task, desired_state=TaskState.REMOVE)))


REMOVE = control_pb2.RemoveRequest(ref="front")


async def test_a_network_is_removed_once_the_tasks_of_a_removed_service_are_told_to_stop(
    control: ControlServicer, store: Store
) -> None:
    await add_task(store, await create_network(control), service_id="gone")
    removal = asyncio.create_task(control.RemoveNetwork(REMOVE, None))
    await asyncio.sleep(0.1)
    assert not removal.done()
    await tell_to_stop(store)
    async with asyncio.timeout(5):
        await removal
    assert len(store.view().networks) == 0


async def test_tasks_that_are_stopping_do_not_hold_a_network(control: ControlServicer, store: Store) -> None:
    """The removal of a network right behind its service took as long as the service's grace period."""
    await add_task(store, await create_network(control), service_id="gone", desired_state=TaskState.REMOVE)
    async with asyncio.timeout(0.5):
        await control.RemoveNetwork(REMOVE, None)
    assert len(store.view().networks) == 0


async def test_a_network_that_a_single_container_uses_is_refused_at_once(
    control: ControlServicer, store: Store
) -> None:
    await add_task(store, await create_network(control), attached_container_id="c", desired_state=TaskState.RUNNING)
    async with asyncio.timeout(1):
        with pytest.raises(PreconditionError, match="network front is in use by task t"):
            await control.RemoveNetwork(REMOVE, None)


async def test_a_network_that_a_service_uses_is_refused_at_once(control: ControlServicer, store: Store) -> None:
    network_id = await create_network(control)
    task = TaskSpec(container=ContainerSpec(image="i"), networks=(NetworkAttachmentConfig(target="front"),))
    spec = codec.to_wire(ServiceSpec(annotations=Annotations(name="web"), task=task))
    service = await control.CreateService(control_pb2.CreateServiceRequest(spec=spec), None)
    await add_task(store, network_id, service_id=service.id)
    async with asyncio.timeout(1):
        with pytest.raises(PreconditionError, match="in use by service web"):
            await control.RemoveNetwork(REMOVE, None)


@pytest.mark.parametrize("context", [None, Deadline(2.1)])
async def test_the_wait_ends_within_its_bound_and_before_the_callers_deadline(store: Store, context: Any) -> None:
    control = ControlServicer(store, NoLogs(), release_seconds=60 if context else 0.1)
    await add_task(store, await create_network(control), service_id="gone")
    async with asyncio.timeout(2):
        with pytest.raises(PreconditionError, match="network front is in use by task t"):
            await control.RemoveNetwork(REMOVE, context)
