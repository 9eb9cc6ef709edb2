"""A failed task group leaves its task able to wait with a timeout."""

import asyncio

import pytest

from covey.task_group import TaskGroup


async def fail() -> None:
    await asyncio.sleep(0)
    raise ValueError


async def test_a_timeout_after_a_failed_group_is_a_timeout() -> None:
    with pytest.raises(ExceptionGroup):
        async with TaskGroup() as group:
            group.create_task(fail())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.sleep(10)


async def test_a_group_whose_body_still_waits_behaves_the_same() -> None:
    async def wait() -> None:
        async with TaskGroup() as group:
            group.create_task(fail())
            await asyncio.sleep(10)

    with pytest.raises(ExceptionGroup):
        await wait()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.sleep(10)


async def test_a_cancellation_from_outside_is_not_lost() -> None:
    async def work() -> None:
        try:
            async with TaskGroup() as group:
                group.create_task(fail())
        except* ValueError:
            pass
        async with TaskGroup() as group:
            group.create_task(asyncio.sleep(10))

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_while_a_task_fails_still_counts() -> None:
    async def fail_at_the_end() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            raise ValueError

    async def work() -> int:
        task = asyncio.current_task()
        assert task is not None
        try:
            async with TaskGroup() as group:
                group.create_task(fail_at_the_end())
        except* ValueError:
            pass
        return task.cancelling()

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    assert await task == 1
