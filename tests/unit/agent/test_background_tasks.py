"""Background work of a part of the agent: it ends with the part, and one failure ends nothing else."""

import asyncio

import pytest

from agent.background_tasks import BackgroundTasks


async def test_closing_cancels_what_runs_and_waits_for_it_even_from_another_task() -> None:
    nursery, cleaned = BackgroundTasks("test"), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("done")

    await asyncio.create_task(nursery.open())
    task = nursery.spawn(work(), "work")
    await asyncio.sleep(0)
    await nursery.close()
    assert task is not None
    assert task.cancelled()
    assert cleaned == ["done"]


async def test_a_failure_is_logged_by_name_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    nursery, went_on = BackgroundTasks("part"), asyncio.Event()

    async def fail() -> None:
        raise RuntimeError("boom")

    async def go_on() -> None:
        await asyncio.sleep(0.01)
        went_on.set()

    await nursery.open()
    nursery.spawn(fail(), "first")
    nursery.spawn(go_on(), "second")
    async with asyncio.timeout(5):
        await went_on.wait()
    await nursery.close()
    assert "part: first failed" in caplog.text


async def test_nothing_begins_before_the_opening_or_after_the_closing() -> None:
    nursery, begun = BackgroundTasks("test"), []

    async def work() -> None:
        begun.append(1)

    assert nursery.spawn(work(), "early") is None
    await nursery.open()
    await nursery.close()
    assert nursery.spawn(work(), "late") is None
    assert begun == []
