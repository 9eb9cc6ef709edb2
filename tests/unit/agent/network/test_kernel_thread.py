"""The driver's kernel thread."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agent.network.kernel_thread import KernelThread


async def test_work_runs_in_order_on_one_thread_that_is_not_the_event_loops():
    thread = KernelThread()
    threads: list[int] = []
    try:
        results = await asyncio.gather(
            *(
                thread.run(lambda number=number: (threads.append(threading.get_ident()), number)[1])
                for number in range(9)
            )
        )
    finally:
        thread.close()
    assert results == list(range(9))
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads


async def test_work_of_a_cancelled_caller_runs_to_its_end():
    thread = KernelThread()
    started, finish, finished = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        finish.wait(10)
        finished.set()

    try:
        caller = asyncio.create_task(thread.run(work))
        assert await asyncio.to_thread(started.wait, 10)
        queued = asyncio.create_task(thread.run(lambda: None))
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        finish.set()
        await queued
        assert finished.is_set()
    finally:
        thread.close()


async def test_work_that_is_queued_behind_other_work_runs_although_its_caller_was_cancelled():
    thread = KernelThread()
    finish, done = threading.Event(), threading.Event()
    try:
        first = asyncio.create_task(thread.run(lambda: finish.wait(10)))
        second = asyncio.create_task(thread.run(done.set))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        finish.set()
        await first
        await thread.run(lambda: None)
        assert done.is_set()
    finally:
        thread.close()
