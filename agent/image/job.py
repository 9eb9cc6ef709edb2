"""Jobs: long work on images (pull, push, load, commit) with progress that several callers can follow.

Callers that ask for the same work join one job. Each follower reads the progress at its own pace.

Invariant: a follower that leaves does not cancel the job while others follow; the last one to leave cancels it.
Invariant: a follower's queue is bounded. Counts of the same step replace each other, so a slow reader misses no step.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar, cast

from agent.background_tasks import BackgroundTasks
from agent.image.model import Progress
from covey.errors import UnavailableError

STEP_LIMIT = 8_192

T = TypeVar("T")

Report = Callable[[Progress], None]


class JobFollower(Generic[T]):
    """One caller's view of a job. Iterate over the progress, then await `result`."""

    def __init__(self, steps: dict[tuple[str, str], Progress], done: asyncio.Future[T]) -> None:
        self._steps = dict(steps)
        self._done = done
        self._changed = asyncio.Event()

    async def result(self) -> T:
        """The job's result. Raises the job's error."""
        return await asyncio.shield(self._done)

    async def __aiter__(self) -> AsyncGenerator[Progress, None]:
        """The progress until the job ends, whatever its result."""
        while True:
            self._changed.clear()
            for key in list(self._steps):
                yield self._steps.pop(key)
            if self._done.done() and not self._steps:
                return
            if not self._steps:
                await self._changed.wait()

    def add(self, key: tuple[str, str], progress: Progress) -> None:
        """Called by the job: queue a step, or replace an older count of it."""
        if len(self._steps) < STEP_LIMIT or key in self._steps:
            self._steps[key] = progress
        self._changed.set()

    def wake(self) -> None:
        """Called by the job when it has ended."""
        self._changed.set()


class Job(Generic[T]):
    """One run of the work. It keeps the latest progress of each step for followers that join later."""

    def __init__(self) -> None:
        self.done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.done.add_done_callback(_mark_retrieved)
        self.task: asyncio.Task[None] | None = None
        self._followers: list[JobFollower[T]] = []
        self._steps: dict[tuple[str, str], Progress] = {}

    def report(self, progress: Progress) -> None:
        """Pass progress on to the followers."""
        key = (progress.id, progress.status)
        if len(self._steps) < STEP_LIMIT or key in self._steps:
            self._steps[key] = progress
        for follower in self._followers:
            follower.add(key, progress)

    async def run(self, work: Callable[[Report], Awaitable[T]]) -> None:
        """Do the work and keep its result or error for the followers."""
        try:
            result = await work(self.report)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                self.done.set_exception(UnavailableError("the operation was cancelled: the daemon is stopping"))
                raise
            self.done.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            self.done.set_result(result)
        finally:
            for follower in self._followers:
                follower.wake()

    @contextmanager
    def follow(self) -> Iterator[JobFollower[T]]:
        """Follow until the end of the block. The last follower to leave cancels unfinished work."""
        follower = JobFollower(self._steps, self.done)
        self._followers.append(follower)
        try:
            yield follower
        finally:
            self._followers.remove(follower)
            if not self._followers and self.task is not None:
                self.task.cancel()

    @property
    def joinable(self) -> bool:
        """Whether another caller may join: the work runs and was not cancelled."""
        return self.task is not None and not self.task.done() and not self.task.cancelling() and not self.done.done()


class JobTable:
    """The running jobs of one part, by key. Open it before use; `close` cancels the jobs and waits for them."""

    def __init__(self, owner: str) -> None:
        self._tasks = BackgroundTasks(owner)
        self._jobs: dict[Hashable, Job[object]] = {}

    async def open(self) -> None:
        await self._tasks.open()

    async def close(self) -> None:
        """Cancel all jobs and wait for them."""
        await self._tasks.close()

    @contextmanager
    def join(self, key: Hashable, work: Callable[[Report], Awaitable[T]]) -> Iterator[JobFollower[T]]:
        """Follow the running job with this key, or start one. Raises UnavailableError while the table is closed."""
        job = cast("Job[T] | None", self._jobs.get(key))
        if job is None or not job.joinable:
            job = self._start(key, work)
        with job.follow() as follower:
            yield follower

    def _start(self, key: Hashable, work: Callable[[Report], Awaitable[T]]) -> Job[T]:
        job = Job[T]()
        task = self._tasks.spawn(job.run(work), str(key)[:80])
        if task is None:
            raise UnavailableError("the daemon is starting or stopping")
        job.task = task
        self._jobs[key] = cast("Job[object]", job)
        task.add_done_callback(lambda _: self._forget(key, job))
        return job

    def _forget(self, key: Hashable, job: Job[T]) -> None:
        if not job.done.done():  # cancelled before its first step
            job.done.set_exception(UnavailableError("the operation was cancelled"))
            for follower in list(job._followers):
                follower.wake()
        if self._jobs.get(key) is job:
            del self._jobs[key]


def _mark_retrieved(done: asyncio.Future[T]) -> None:
    """A job without followers may fail unheard; asyncio must not warn about that."""
    if not done.cancelled():
        done.exception()
