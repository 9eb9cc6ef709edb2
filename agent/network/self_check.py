"""Self-check of a host's network state: repairs once a minute, at once after a foreign change of our tables, and retries failures.

Owned by the reconciler, which does the work.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from agent.network.kernel.monitor import NftMonitor
from agent.network.kernel.refusal import place
from agent.network.plan.diff import Difference
from agent.network.plan.items import describe
from covey.errors import CoveyError

logger = logging.getLogger(__name__)

SELF_CHECK_SECONDS = 60.0
SELF_CHECK_JITTER = 0.2
RETRY_SECONDS = 5.0
FLUSH_DELAY_SECONDS = 0.05
"""A flush comes with the rules that follow it; the check after it sees both."""
_LOGGED = 20


class Repairs(Protocol):
    """The reconciler, as the self-check sees it. Both repairs return what they found and could repair."""

    async def repair_all(self) -> Sequence[Difference]: ...
    async def repair_host(self) -> Sequence[Difference]: ...
    def retry_failures(self) -> None: ...


class SelfCheck:
    """Started once, on the event loop."""

    def __init__(self, repairs: Repairs) -> None:
        self._repairs = repairs
        self._monitor: NftMonitor | None = None
        self._changed = asyncio.Event()

    def start(self, monitor: NftMonitor | None, spawn: Callable[[Coroutine[Any, Any, object], str], object]) -> None:
        """`monitor` is that of the host's namespace, or None on a host that has no such notifications."""
        self._monitor = monitor
        if monitor is not None:
            asyncio.get_running_loop().add_reader(monitor.fileno(), self._read_monitor)
            spawn(self._repair_after_changes(), "repair of changed tables")
        spawn(self._check_periodically(), "self-check of the networks")
        spawn(self._retry_periodically(), "retry of refused network changes")

    def close(self) -> None:
        """Stop listening. Whoever owns the spawned tasks ends them."""
        if self._monitor is not None:
            asyncio.get_running_loop().remove_reader(self._monitor.fileno())
            self._monitor.close()
            self._monitor = None

    def _read_monitor(self) -> None:
        if self._monitor is not None and self._monitor.read():
            self._changed.set()

    async def _repair_after_changes(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(FLUSH_DELAY_SECONDS)
            self._changed.clear()
            await _logged(self._repairs.repair_host())

    async def _check_periodically(self) -> None:
        while True:
            jitter = random.uniform(1 - SELF_CHECK_JITTER, 1 + SELF_CHECK_JITTER)  # noqa: S311 - not for security
            await asyncio.sleep(SELF_CHECK_SECONDS * jitter)
            await _logged(self._repairs.repair_all())

    async def _retry_periodically(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            self._repairs.retry_failures()


async def _logged(repair: Coroutine[Any, Any, Sequence[Difference]]) -> None:
    try:
        done = await repair
    except CoveyError as error:
        logger.warning("the networks of this host could not be checked: %s", error)
        return
    for one in done[:_LOGGED]:
        logger.warning("repaired the %s %s, which was %s", describe(one.item), place(one.namespace), one.kind)
    if len(done) > _LOGGED:
        logger.warning("repaired %d more items of this host's networks", len(done) - _LOGGED)
