"""Threads that do the blocking kernel work of the reconciler, each job inside one network namespace.

Invariant: these threads run nothing else, and every job enters its namespace first, so no code runs in the wrong one.
Invariant: the number of threads is bounded, whatever the number of namespaces.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agent.network.netns import Namespace

T = TypeVar("T")

MAX_THREADS = 4
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None, use_errno=True)


class KernelThreads:
    """`name` is what the kernel shows as the author of our nftables transactions; it is unique to this object."""

    def __init__(self, threads: int = MAX_THREADS) -> None:
        self.name = f"covey-{os.urandom(4).hex()}"
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="covey-kernel", initializer=self._set_name)

    async def run(self, namespace: Namespace, work: Callable[[], T]) -> T:
        """Run `work` in the namespace, to its end even if the caller is cancelled."""

        def body() -> T:
            namespace.enter()
            return work()

        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._executor, body))

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _set_name(self) -> None:
        _libc.prctl(_PR_SET_NAME, self.name.encode(), 0, 0, 0)
