"""Jobs: callers share one run, late followers see where it stands, and the last to leave cancels it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agent.image.job import STEP_LIMIT, JobTable, Report
from agent.image.model import Progress
from covey.errors import NotFoundError, UnavailableError

DEADLINE = 5


@pytest_asyncio.fixture
async def jobs() -> AsyncIterator[JobTable]:
    table = JobTable("test")
    await table.open()
    yield table
    await table.close()


class Work:
    """Work that the test ends. It counts its runs."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = asyncio.Event()
        self.end = asyncio.Event()

    async def __call__(self, report: Report) -> str:
        self.runs += 1
        report(Progress("Downloading", "layer", 1, 2))
        report(Progress("Downloading", "layer", 2, 2))
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        report(Progress("Pull complete", "layer"))
        return "done"


async def test_two_callers_of_the_same_work_share_one_run_and_its_result(jobs: JobTable) -> None:
    work = Work()
    async with asyncio.timeout(DEADLINE):
        with jobs.join("key", work) as first:
            await anext(first.__aiter__())
            with jobs.join("key", work) as second:
                seen = [await anext(second.__aiter__())]
                work.end.set()
                seen += [progress async for progress in second]
                assert await first.result() == await second.result() == "done"
    assert work.runs == 1
    assert seen == [Progress("Downloading", "layer", 2, 2), Progress("Pull complete", "layer")]


async def test_a_follower_that_leaves_does_not_cancel_the_others(jobs: JobTable) -> None:
    work = Work()
    async with asyncio.timeout(DEADLINE):
        with jobs.join("key", work) as stays:
            with jobs.join("key", work):
                pass
            work.end.set()
            assert await stays.result() == "done"
    assert not work.cancelled.is_set()


async def test_the_last_follower_cancels_and_a_later_caller_starts_anew(jobs: JobTable) -> None:
    work = Work()
    async with asyncio.timeout(DEADLINE):
        with jobs.join("key", work) as follower:
            await anext(follower.__aiter__())
        with jobs.join("key", work) as again:
            await work.cancelled.wait()
            work.end.set()
            assert await again.result() == "done"
    assert work.runs == 2


async def test_an_error_reaches_every_follower_after_the_progress(jobs: JobTable) -> None:
    async def fail(report: Report) -> None:
        report(Progress("Pulling"))
        raise NotFoundError("no such manifest")

    async with asyncio.timeout(DEADLINE):
        with jobs.join("key", fail) as first, jobs.join("key", fail) as second:
            for follower in (first, second):
                assert [progress.status async for progress in follower] == ["Pulling"]
                with pytest.raises(NotFoundError, match="no such manifest"):
                    await follower.result()


async def test_closing_the_table_ends_the_jobs_and_refuses_new_ones(jobs: JobTable) -> None:
    work = Work()
    async with asyncio.timeout(DEADLINE):
        with jobs.join("key", work) as follower:
            await anext(follower.__aiter__())
            await jobs.close()
            with pytest.raises(UnavailableError):
                await follower.result()
        with pytest.raises(UnavailableError), jobs.join("other", work):
            pass


async def test_a_reader_that_never_reads_holds_a_bounded_queue(jobs: JobTable) -> None:
    async def chatter(report: Report) -> None:
        for number in range(STEP_LIMIT + 100):
            report(Progress("line", str(number)))

    async with asyncio.timeout(DEADLINE):
        with jobs.join("key", chatter) as follower:
            await follower.result()
            assert len([progress async for progress in follower]) == STEP_LIMIT
