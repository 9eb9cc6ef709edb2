"""The Engine API of ``api_daemon`` in a thread of its own, for tests that send requests without asyncio."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

from tests.support.api_daemon import Daemon, running

START_SECONDS = 20.0
STOP_SECONDS = 30.0


@contextlib.contextmanager
def background_daemon(folder: Path) -> Iterator[Daemon]:
    """A daemon that leads a cluster of itself; always stopped."""
    started: Future[tuple[Daemon, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        async with running(folder) as daemon:
            await daemon.form_cluster()
            end = asyncio.Event()
            started.set_result((daemon, asyncio.get_running_loop(), end))
            await end.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # the test is told; the thread has nobody else to tell
            if not started.done():
                started.set_exception(error)
            raise

    thread = threading.Thread(target=run, name="engine")
    thread.start()
    daemon, loop, end = started.result(START_SECONDS)
    try:
        yield daemon
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(STOP_SECONDS)
        assert not thread.is_alive(), "the daemon did not stop"
