"""The status writer: states only go up, and a node reports its own tasks only."""

import asyncio

import pytest

from covey.objects import ContainerStatus, Task, TaskStatus, replace
from covey.states import TaskState
from manager.dispatcher.status_writer import MAX_TEXT_CHARACTERS, StatusWriter, merge_status
from manager.store import MemoryConsensus, NotLeaderError, Store


def status(state: TaskState, message: str = "", **more: object) -> TaskStatus:
    return TaskStatus(state=state, message=message, **more)  # type: ignore[arg-type]


def test_states_only_go_up() -> None:
    task = Task(id="t", status=status(TaskState.RUNNING))
    assert merge_status(task, status(TaskState.STARTING)) is None
    assert merge_status(task, status(TaskState.RUNNING)) is None
    assert merge_status(task, status(TaskState.RUNNING, "healthy")) == status(TaskState.RUNNING, "healthy")
    assert merge_status(task, status(TaskState.FAILED)) is not None


def test_a_terminal_state_is_stored_once() -> None:
    task = Task(id="t", status=status(TaskState.FAILED, "first"))
    assert merge_status(task, status(TaskState.FAILED, "again")) is None


def test_the_container_is_kept_if_a_later_status_does_not_name_it() -> None:
    container = ContainerStatus(container_id="c", exit_code=3)
    task = Task(id="t", status=status(TaskState.RUNNING, container=container))
    after = merge_status(task, status(TaskState.SHUTDOWN))
    assert after is not None
    assert after.container == container


def test_a_long_error_is_truncated_and_not_stored_again() -> None:
    task = Task(id="t", status=status(TaskState.RUNNING))
    stored = merge_status(task, status(TaskState.FAILED, error="x" * 100_000))
    assert stored is not None
    assert len(stored.error) == MAX_TEXT_CHARACTERS
    again = merge_status(
        replace(task, status=replace(stored, state=TaskState.RUNNING)), status(TaskState.RUNNING, error="x" * 100_000)
    )
    assert again is None


async def test_statuses_of_unknown_and_of_other_nodes_tasks_are_ignored() -> None:
    store = Store(MemoryConsensus)
    await store.update(lambda tx: tx.create(Task(id="t1", node_id="n1", status=status(TaskState.ASSIGNED))))
    writer = StatusWriter(store)
    running = asyncio.create_task(writer.run())
    try:
        async with asyncio.timeout(5):
            await writer.report("n2", [("t1", status(TaskState.RUNNING))])
            await writer.report("n1", [("gone", status(TaskState.RUNNING))])
            assert store.view().tasks.find("t1").status.state is TaskState.ASSIGNED
            await writer.report("n1", [("t1", status(TaskState.RUNNING)), ("t1", status(TaskState.STARTING))])
            assert store.view().tasks.find("t1").status.state is TaskState.RUNNING
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_batch_is_not_acknowledged_when_leadership_is_lost() -> None:
    store = Store(MemoryConsensus)
    await store.update(lambda tx: tx.create(Task(id="t1", node_id="n1")))
    writer = StatusWriter(store)
    running = asyncio.create_task(writer.run())
    assert isinstance(store.consensus, MemoryConsensus)
    store.consensus.lead(leading=False)
    try:
        async with asyncio.timeout(5):
            with pytest.raises(NotLeaderError):
                await writer.report("n1", [("t1", status(TaskState.RUNNING))])
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
