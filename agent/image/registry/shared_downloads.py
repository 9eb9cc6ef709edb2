"""Downloads of the daemon: how many run at a time, and one download of a blob that several fetches need at once.

Invariant: the failure of one fetch does not fail another: the next one that needs the blob downloads it itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from agent.image.registry.transfer_slots import TransferSlots

DEFAULT_ATTEMPTS = 5


class SharedDownloads:
    """At most `limit` downloads at a time, with so many `attempts` each.

    A blob is shared from the begin of its download to the end of the fetch that has it.
    """

    def __init__(self, limit: int, attempts: int = DEFAULT_ATTEMPTS) -> None:
        self._slots = TransferSlots(limit)
        self.attempts = attempts
        self._shared: dict[str, asyncio.Future[Path]] = {}

    def configure(self, limit: int, attempts: int) -> None:
        """Use other limits, for the downloads that wait too."""
        self._slots.set_limit(limit)
        self.attempts = attempts

    def must_wait(self, digest: str) -> bool:
        """Whether a download of this blob would not begin at once."""
        return self._slots.locked() or digest in self._shared

    async def get(self, digest: str, path: Path, stored: Path, download: Callable[[], Awaitable[None]]) -> bool:
        """Have the blob at `path`: as a link to the stored blob or to another fetch's, or by `download`. Returns whether it is a link."""
        while (shared := self._shared.get(digest)) is not None:
            await asyncio.wait({shared})
            if not shared.cancelled() and await asyncio.to_thread(_link, shared.result(), path):
                return True
            if self._shared.get(digest) is shared:  # that fetch has ended
                del self._shared[digest]
        own: asyncio.Future[Path] = asyncio.get_running_loop().create_future()
        self._shared[digest] = own
        try:
            is_link = await asyncio.to_thread(_link, stored, path)
            if not is_link:
                async with self._slots:
                    await download()
            own.set_result(path)
        except BaseException:
            own.cancel()
            self._forget(digest, own)
            raise
        return is_link

    def release(self, paths: Iterable[Path]) -> None:
        """The fetch that has these files ends: they are stored, or given up."""
        wanted = set(paths)
        for digest, shared in list(self._shared.items()):
            if shared.done() and not shared.cancelled() and shared.result() in wanted:
                self._forget(digest, shared)

    def _forget(self, digest: str, shared: asyncio.Future[Path]) -> None:
        if self._shared.get(digest) is shared:
            del self._shared[digest]


def _link(source: Path, target: Path) -> bool:
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        return False
    return True
