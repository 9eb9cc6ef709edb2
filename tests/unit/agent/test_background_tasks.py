"""Background tasks: they end with their owner, and a failure of one does not affect the others."""

import asyncio

import pytest

from agent.background_tasks import BackgroundTasks


async def test_close_cancels_running_tasks_and_waits_for_them_even_from_another_task() -> None:
    tasks, cleaned = BackgroundTasks("test"), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("done")

    await asyncio.create_task(tasks.open())
    task = tasks.spawn(work(), "work")
    await asyncio.sleep(0)
    await tasks.close()
    assert task is not None
    assert task.cancelled()
    assert cleaned == ["done"]


async def test_an_exception_is_logged_with_the_tasks_name_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks, went_on = BackgroundTasks("part"), asyncio.Event()

    async def fail() -> None:
        raise RuntimeError("boom")

    async def go_on() -> None:
        await asyncio.sleep(0.01)
        went_on.set()

    await tasks.open()
    tasks.spawn(fail(), "first")
    tasks.spawn(go_on(), "second")
    async with asyncio.timeout(5):
        await went_on.wait()
    await tasks.close()
    assert "part: first failed" in caplog.text


async def test_nothing_is_spawned_before_open_or_after_close() -> None:
    tasks, begun = BackgroundTasks("test"), []

    async def work() -> None:
        begun.append(1)

    assert tasks.spawn(work(), "early") is None
    await tasks.open()
    await tasks.close()
    assert tasks.spawn(work(), "late") is None
    assert begun == []
