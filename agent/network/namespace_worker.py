"""Worker of one namespace: collects what changed, and runs one pass after another until nothing is left.

Invariant: passes of a namespace never overlap, and do not end with the caller that asked for them. Invariant: whoever asks waits for
the pass that includes its items, together with all others who asked while the previous pass ran.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable
from functools import partial
from typing import Any, Protocol, TypeVar

from agent.network.kernel.namespace_kernel import NamespaceKernel, Request
from agent.network.kernel.outcome import Outcome
from agent.network.kernel.refusal import place
from agent.network.plan.diff import Difference, DifferenceKind
from agent.network.plan.items import Item, describe
from agent.network.plan.wanted import WantedState
from covey.errors import CoveyError, UnavailableError

logger = logging.getLogger(__name__)
T = TypeVar("T")

STOPPING = "the networks of this host are not running: the daemon is stopping"
_MAX_PASSES = 3
"""Passes for one request: one that is refused because the namespace is not as it was left, one that reads, one for lost entries."""


class Host(Protocol):
    """The reconciler, as a worker sees it."""

    @property
    def wanted(self) -> WantedState: ...
    @property
    def is_complete(self) -> bool: ...
    async def run(self, kernel: NamespaceKernel, work: Callable[[], T]) -> T: ...
    def spawn(self, work: Coroutine[Any, Any, object], name: str) -> object: ...
    def passed(self, key: str, outcome: Outcome) -> None: ...


class NamespaceWorker:
    """`failures` are the wanted items that the last pass could not bring about, and why."""

    def __init__(self, key: str, kernel: NamespaceKernel, host: Host) -> None:
        self.key = key
        self.kernel = kernel
        self.failures: dict[Item, CoveyError] = {}
        self._host = host
        self._touched: set[Item] = set()
        self._remake: set[str] = set()
        self._must_read = True
        self._next: asyncio.Future[None] | None = None
        self._checks: list[tuple[bool, asyncio.Future[tuple[Difference, ...]]]] = []
        self._is_running = False
        self._is_closed = False

    @property
    def is_idle(self) -> bool:
        return not self._is_running

    def distrust(self) -> None:
        """Read the namespace in the next pass: another program has changed it."""
        self._must_read = True

    def request(
        self, touched: Iterable[Item] = (), *, read: bool = False, remake: Iterable[str] = ()
    ) -> asyncio.Future[None]:
        """Bring these items to their wanted values; with `read`, read the namespace and bring all to theirs.

        The result is there after the pass that includes them. `failures` says what failed.
        """
        self._touched.update(touched)
        self._remake.update(remake)
        self._must_read = self._must_read or read
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        future = self._next
        self._start()
        return future

    async def check(self, *, repair: bool) -> tuple[Difference, ...]:
        """Read the namespace and compare it with what is wanted, and carry out the differences if `repair`. Returns them."""
        future: asyncio.Future[tuple[Difference, ...]] = asyncio.get_running_loop().create_future()
        self._checks.append((repair, future))
        self._start()
        return await asyncio.shield(future)

    def close(self) -> None:
        """Start no further pass. Those who wait go on; the caller closes the namespace after the pass that may be running."""
        self._is_closed = True

    def _start(self) -> None:
        if self._is_running:
            return
        if self._is_closed:
            self._stop()
            return
        self._is_running = True
        if self._host.spawn(self._drain(), f"network namespace {self.key}") is None:
            self._is_running = False
            self._stop()

    async def _drain(self) -> None:
        try:
            while (self._next is not None or self._checks) and not self._is_closed:
                if self._next is not None:
                    await self._settle_next()
                else:
                    await self._check_next()
        finally:
            self._is_running = False
            self._stop()

    async def _settle_next(self) -> None:
        done, self._next = self._next, None
        touched, self._touched = self._touched, set()
        try:
            await self._settle(touched)
        except asyncio.CancelledError:
            if done is not None and not done.done():
                done.set_exception(UnavailableError(STOPPING))
                done.exception()  # nobody may wait for it
            raise
        except Exception as error:  # whatever it is, the fragments that wait hear of it, and the worker goes on
            self.failures |= dict.fromkeys(self._host.wanted.select(self.key, touched), self._failed(error))
        finally:
            if done is not None and not done.done():
                done.set_result(None)

    async def _settle(self, touched: set[Item]) -> None:
        wanted = self._host.wanted
        for _ in range(_MAX_PASSES):
            remake, self._remake = self._remake, set()
            known = (
                self.kernel.is_known
                and touched.isdisjoint(self.failures)
                and touched.isdisjoint(self.kernel.unrecognized)
            )
            read = self._must_read or bool(remake) or not known
            self._must_read = False
            request = Request(
                wanted=wanted.items(self.key) if read else wanted.select(self.key, touched),
                touched=touched,
                owners=partial(wanted.owners, self.key),
                read=read,
                remake=remake,
            )
            outcome = await self._host.run(self.kernel, partial(self.kernel.settle, request))
            self._record(outcome, None if read else touched)
            if self.kernel.is_known:
                return

    async def _check_next(self) -> None:
        repair, done = self._checks.pop(0)
        try:
            found = await self._check(repair=repair)
        except Exception as error:  # as above
            reason = self._failed(error)
            if not done.done():
                done.set_exception(reason)
                done.exception()
        else:
            if not done.done():
                done.set_result(found)
        finally:
            if not done.done():
                done.set_exception(UnavailableError(STOPPING))
                done.exception()

    async def _check(self, *, repair: bool) -> tuple[Difference, ...]:
        wanted = self._host.wanted.items(self.key)
        strays = self._host.is_complete
        if not repair:
            found = await self._host.run(self.kernel, partial(self.kernel.compare, wanted))
            return tuple(one for one in found if strays or one.kind is not DifferenceKind.STRAY)
        owners = partial(self._host.wanted.owners, self.key)
        request = Request(wanted=wanted, touched=(), owners=owners, read=True)
        found, outcome = await self._host.run(self.kernel, partial(self.kernel.repair, request, strays=strays))
        self._record(outcome, None)
        if not self.kernel.is_known:
            self.request(read=True)
        return found

    def _failed(self, error: Exception) -> CoveyError:
        """A pass that broke off. The next one reads the namespace."""
        self._must_read = True
        if isinstance(error, CoveyError | OSError):
            logger.warning("the network namespace %s could not be settled: %s", place(self.key), error)
        else:
            logger.error("the network namespace %s could not be settled", place(self.key), exc_info=error)
        if isinstance(error, CoveyError):
            return error
        return UnavailableError(f"the network {place(self.key)} could not be settled: {error}")

    def _record(self, outcome: Outcome, touched: Collection[Item] | None) -> None:
        """Keep the failures of wanted items. `touched` are the items of the pass, None for all."""
        wanted = self._host.wanted.select(self.key, set(outcome.failures))
        kept = {} if touched is None else {item: e for item, e in self.failures.items() if item not in touched}
        for item, error in outcome.failures.items():
            if item not in wanted:
                logger.warning("the %s %s could not be removed: %s", describe(item), place(self.key), error)
            elif item not in self.failures:
                logger.warning("%s", error)
        self.failures = kept | {item: error for item, error in outcome.failures.items() if item in wanted}
        self._host.passed(self.key, outcome)

    def _stop(self) -> None:
        """Let go who waits, without a pass: the daemon stops, or the namespace is closed. Nobody waits after a normal end."""
        if self._next is not None and not self._next.done():
            if self._is_closed:
                self._next.set_result(None)
            else:
                self._next.set_exception(UnavailableError(STOPPING))
                self._next.exception()  # nobody may wait for it
        for _, future in self._checks:
            if not future.done():
                future.set_result(())
        self._next = None
        self._checks.clear()
