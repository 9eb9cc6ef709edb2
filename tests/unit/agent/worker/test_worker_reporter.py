"""Statuses on their way up: the latest of each task, oldest first."""

import asyncio

import pytest

from agent.worker.reporter import Reporter
from covey.objects import TaskStatus
from covey.states import TaskState


def status(state: TaskState) -> TaskStatus:
    return TaskStatus(state=state)


async def test_a_newer_status_takes_the_place_of_one_that_waits() -> None:
    reporter = Reporter()
    reporter.report("a", status(TaskState.ACCEPTED))
    reporter.report("b", status(TaskState.ACCEPTED))
    reporter.report("a", status(TaskState.RUNNING))
    assert len(reporter) == 2
    told = [await anext(reporter), await anext(reporter)]
    assert [(each.task_id, each.status.state) for each in told] == [("a", TaskState.RUNNING), ("b", TaskState.ACCEPTED)]


async def test_a_reader_waits_for_the_next_status() -> None:
    reporter = Reporter()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        reading = group.create_task(anext(reporter))
        group.create_task(asyncio.to_thread(lambda: None)).add_done_callback(
            lambda _: reporter.report("a", status(TaskState.READY))
        )
    assert reading.result().task_id == "a"


async def test_a_task_that_is_gone_is_not_told_of() -> None:
    reporter = Reporter()
    reporter.report("a", status(TaskState.READY))
    reporter.forget("a")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await anext(reporter)
