"""The one thread on which the network driver does blocking kernel work, in order of submission."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class KernelThread:
    """Runs functions one after another. The event loop waits without blocking."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="covey-network")

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` to its end, even if the caller is cancelled: a network is never left half configured."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._executor, work))

    def close(self) -> None:
        self._executor.shutdown(wait=False)
