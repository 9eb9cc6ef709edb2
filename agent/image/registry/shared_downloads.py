"""Downloads of the daemon: how many run at a time, and one download of a blob that several fetches need at once.

Invariant: the failure of one fetch does not fail another: the next one that needs the blob downloads it itself.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path


class SharedDownloads:
    """At most `limit` downloads at a time."""

    def __init__(self, limit: int) -> None:
        self._slots = asyncio.Semaphore(limit)
        self._running: dict[str, asyncio.Future[Path]] = {}

    def must_wait(self, digest: str) -> bool:
        """Whether a download of this blob would not begin at once."""
        return self._slots.locked() or digest in self._running

    async def get(self, digest: str, path: Path, download: Callable[[], Awaitable[None]]) -> bool:
        """Have the blob at `path`: by `download`, or as a link to what another fetch downloads. Returns whether it is a link."""
        while (running := self._running.get(digest)) is not None:
            await asyncio.wait({running})
            if not running.cancelled():
                with contextlib.suppress(FileNotFoundError):  # the other fetch has committed or given up already
                    await asyncio.to_thread(path.hardlink_to, running.result())
                    return True
        done: asyncio.Future[Path] = asyncio.get_running_loop().create_future()
        self._running[digest] = done
        try:
            async with self._slots:
                await download()
            done.set_result(path)
        finally:
            done.cancel()
            del self._running[digest]
        return False
